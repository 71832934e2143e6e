;; Figure 2's GoodHandler and InfiniteHandler: both are ephemeral, so both can be installed. That the second
;; never comes back is the watchdog's business.
;; verdict: accept
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (type $handler (func (param i32) (result i64)))
  (table funcref (elem $good_handler $infinite_handler))
  (memory (export "memory") 1)
  (func $good_handler (type $handler) (i64.const 0))
  (func $infinite_handler (type $handler) (loop $forever (br $forever)) (i64.const 0))
  (func (export "init")
    (drop (call $add_handler (i32.const 6) (i32.const 0)))
    (drop (call $add_handler (i32.const 7) (i32.const 0))))
  (func $run (export "run") (local $slot i32) (local $verdict i64)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (local.set $verdict (call_indirect (type $handler)
        (local.get $slot) (i32.sub (i32.load16_u (local.get $slot)) (i32.const 6))))
      (br $again)))
)
