;; Wants to send to the application without having been granted the domain.
;; fate: unlinkable which the extension's manifest does not
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:host" "send" (func $host (param i32) (result i32)))
  (memory (export "memory") 1)
  (func $run (export "run") (local $slot i32) (local $verdict i64)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (drop (call $host (i32.const 0)))
      (br $again)))
)
