;; Calls itself until the native stack would be used up.
;; fate: struck
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (memory (export "memory") 1)
  (func $deeper (call $deeper) (call $deeper))
  (func $run (export "run") (local $slot i32) (local $verdict i64)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (call $deeper)
      (br $again)))
)
