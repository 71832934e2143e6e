;; Sends the application as many messages as its fuel allows, for each that it gets.
;; domains: host
;; fate: bounded over_share
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:host" "send" (func $host (param i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\63\00\00\00\00\00\00\00")
  (func $run (export "run") (local $slot i32) (local $verdict i64) (local $left i32)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (local.set $verdict (i64.const 0))
      (local.set $left (i32.const 100))
      (loop $more
        (drop (call $host (i32.const 0)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $more (local.get $left)))
      (br $again)))
)
