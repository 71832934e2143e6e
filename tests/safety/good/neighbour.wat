;; A well-behaved neighbour: forwards packets, keeps every one with command 1 until the next such comes,
;; and answers each message of the application by one to it and one to the extension on adapter 1.
;; What the runtime does not do as it should makes it drop the message as "martian".
;; domains: buffer, host, peer
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:buffer" "release" (func $release (param i64) (result i32)))
  (import "spine:host" "send" (func $host (param i32) (result i32)))
  (import "spine:peer" "send" (func $peer (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $packet (param $slot i32) (result i64)
    (if (i32.ne (i32.load8_u offset=17 (local.get $slot)) (i32.const 1))
      (then (return (i64.const 0x10002))))
    (if (i64.ne (i64.load (i32.const 1024)) (i64.const 0))
      (then
        (if (call $release (i64.load (i32.const 1024)))
          (then (return (i64.const 0x401))))))
    (i64.store (i32.const 1024) (i64.load offset=8 (local.get $slot)))
    (i64.const 5))
  (func $message (param $slot i32) (result i64)
    (memory.copy (i32.const 0) (local.get $slot) (i32.const 256))
    (i32.store16 (i32.const 0) (i32.const 2))
    (if (call $host (i32.const 0)) (then (return (i64.const 0x401))))
    (if (call $peer (i32.const 1) (i32.const 0)) (then (return (i64.const 0x401))))
    (i64.const 0))
  (func (export "run") (local $slot i32) (local $verdict i64)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (local.set $verdict
        (if (result i64) (i32.load8_u offset=2 (local.get $slot))
          (then (call $packet (local.get $slot)))
          (else (call $message (local.get $slot)))))
      (br $again)))
)
