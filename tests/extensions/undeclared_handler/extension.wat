;; Tries from `init`, where handlers may be installed, to install what its manifest does not declare.
;; fate: answered
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "init")
    ;; The neighbour's number, and one that is nobody's.
    (if (i32.ne (i32.const -8) (call $add_handler (i32.const 1) (i32.const 0))) (then (unreachable)))
    (if (i32.ne (i32.const -8) (call $add_handler (i32.const 65535) (i32.const 0))) (then (unreachable))))
  (func $run (export "run") (local $slot i32) (local $verdict i64)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (local.set $verdict (i64.const 0))
      (br $again)))
)
