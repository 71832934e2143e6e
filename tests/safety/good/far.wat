;; The extension on the other adapter: forwards packets to adapter 0, and passes each message of a peer
;; that has arguments on to its application.
;; domains: host, peer
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:host" "send" (func $host (param i32) (result i32)))
  (memory (export "memory") 1)
  (func $message (param $slot i32) (result i64)
    (memory.copy (i32.const 0) (local.get $slot) (i32.const 256))
    (if (i32.load16_u offset=6 (i32.const 0))
      (then (if (call $host (i32.const 0)) (then (return (i64.const 0x401))))))
    (i64.const 0))
  (func (export "run") (local $slot i32) (local $verdict i64)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (local.set $verdict
        (if (result i64) (i32.load8_u offset=2 (local.get $slot))
          (then (i64.const 0x0002))
          (else (call $message (local.get $slot)))))
      (br $again)))
)
