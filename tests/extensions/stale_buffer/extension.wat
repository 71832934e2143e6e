;; Keeps a packet, releases it, and reads, writes and releases it again.
;; domains: buffer
;; fate: answered
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:buffer" "read" (func $read (param i64 i32 i32 i32) (result i32)))
  (import "spine:buffer" "write" (func $write (param i64 i32 i32 i32) (result i32)))
  (import "spine:buffer" "release" (func $release (param i64) (result i32)))
  (memory (export "memory") 1)
  (func $run (export "run") (local $slot i32) (local $verdict i64)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (local.set $verdict (i64.const 0))
      (if (i64.ne (i64.load (i32.const 1024)) (i64.const 0))
        (then
          (if (call $release (i64.load (i32.const 1024))) (then (local.set $verdict (i64.const 0x401))))
          (if (i32.ne (i32.const -4) (call $release (i64.load (i32.const 1024)))) (then (local.set $verdict (i64.const 0x401))))
          (if (i32.ne (i32.const -4) (call $read
                (i64.load (i32.const 1024)) (i32.const 0) (i32.const 2048) (i32.const 1))) (then (local.set $verdict (i64.const 0x401))))
          (if (i32.ne (i32.const -4) (call $write
                (i64.load (i32.const 1024)) (i32.const 0) (i32.const 2048) (i32.const 1))) (then (local.set $verdict (i64.const 0x401))))
          (i64.store (i32.const 1024) (i64.const 0)))
        (else
          (if (i64.ne (i64.load offset=8 (local.get $slot)) (i64.const 0))
            (then
              (i64.store (i32.const 1024) (i64.load offset=8 (local.get $slot)))
              (local.set $verdict (i64.const 5))))))
      (br $again)))
)
