;; Asks the runtime to copy between its packet and addresses and lengths beyond both.
;; domains: buffer, host
;; fate: answered
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:buffer" "read" (func $read (param i64 i32 i32 i32) (result i32)))
  (import "spine:buffer" "write" (func $write (param i64 i32 i32 i32) (result i32)))
  (import "spine:host" "send" (func $host (param i32) (result i32)))
  (memory (export "memory") 1)
  (func $run (export "run") (local $slot i32) (local $verdict i64)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (local.set $verdict (i64.const 0))
      (if (i32.ge_s (call $read (i64.load offset=8 (local.get $slot)) (i32.const 0) (i32.const -8) (i32.const 16)) (i32.const 0)) (then (local.set $verdict (i64.const 0x401))))
      (if (i32.ge_s (call $read (i64.load offset=8 (local.get $slot)) (i32.const -1) (i32.const 2048) (i32.const 2)) (i32.const 0)) (then (local.set $verdict (i64.const 0x401))))
      (if (i32.ge_s (call $read (i64.load offset=8 (local.get $slot)) (i32.const 1) (i32.const 2048) (i32.const 4000)) (i32.const 0)) (then (local.set $verdict (i64.const 0x401))))
      (if (i32.ge_s (call $write (i64.load offset=8 (local.get $slot)) (i32.const 0) (i32.const 0x7fffffff) (i32.const 1)) (i32.const 0)) (then (local.set $verdict (i64.const 0x401))))
      (if (i32.ge_s (call $write (i64.load offset=8 (local.get $slot)) (i32.const 3000) (i32.const 2048) (i32.const 1)) (i32.const 0)) (then (local.set $verdict (i64.const 0x401))))
      (if (i32.ge_s (call $host (i32.const -16)) (i32.const 0)) (then (local.set $verdict (i64.const 0x401))))
      (br $again)))
)
