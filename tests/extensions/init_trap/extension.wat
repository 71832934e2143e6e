;; Traps in `init`.
;; fate: unloadable init
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "init") (unreachable))
  (func $run (export "run") (local $slot i32) (local $verdict i64)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (br $again)))
)
