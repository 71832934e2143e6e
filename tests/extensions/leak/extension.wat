;; Keeps every buffer it is given, fills every queue it can reach, and releases nothing.
;; domains: buffer, host, peer
;; fate: bounded over_share
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:host" "send" (func $host (param i32) (result i32)))
  (import "spine:peer" "send" (func $peer (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\02")
  (func $run (export "run") (local $slot i32) (local $verdict i64) (local $left i32)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (local.set $verdict (select (i64.const 5) (i64.const 0) (i32.load8_u offset=2 (local.get $slot))))
      (local.set $left (i32.const 40))
      (loop $more
        (drop (call $host (i32.const 0)))
        (drop (call $peer (i32.const 1) (i32.const 0)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $more (local.get $left)))
      (br $again)))
)
