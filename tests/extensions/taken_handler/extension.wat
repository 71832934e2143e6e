;; Declares the number of its neighbour's handler, to have the neighbour's packets.
;; handlers: 1, 12
;; fate: unloadable is taken
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (memory (export "memory") 1)
  (func $run (export "run") (local $slot i32) (local $verdict i64)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (local.set $verdict (i64.const 0))
      (br $again)))
)
