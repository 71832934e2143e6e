;; Answers a message it is finished with: writes to the buffer of the one before, and sends that one's
;; header, reference and all, as if it were a message of its own.
;; domains: buffer, host
;; fate: answered
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:buffer" "write" (func $write (param i64 i32 i32 i32) (result i32)))
  (import "spine:host" "send" (func $host (param i32) (result i32)))
  (memory (export "memory") 1)
  (func $run (export "run") (local $slot i32) (local $verdict i64)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (local.set $verdict (i64.const 0))
      (if (i64.ne (i64.load (i32.const 1024)) (i64.const 0))
        (then
          (if (i32.ge_s (call $write
                (i64.load (i32.const 1024)) (i32.const 0) (i32.const 2048) (i32.const 4)) (i32.const 0))
            (then (local.set $verdict (i64.const 0x401))))
          (i32.store8 offset=2 (i32.const 1280) (i32.const 1))
          (i64.store offset=8 (i32.const 1280) (i64.load (i32.const 1024)))
          (if (i32.ne (i32.const -1) (call $host (i32.const 1280))) (then (local.set $verdict (i64.const 0x401))))))
      (i64.store (i32.const 1024) (i64.load offset=8 (local.get $slot)))
      (br $again)))
)
