;; Makes up references: every index with a generation nobody was given.
;; domains: buffer
;; fate: answered
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:buffer" "read" (func $read (param i64 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $run (export "run") (local $slot i32) (local $verdict i64) (local $guess i32)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (local.set $verdict (i64.const 0))
      (local.set $guess (i32.const 128))
      (loop $next_guess
        (local.set $guess (i32.sub (local.get $guess) (i32.const 1)))
        (if (i32.ge_s (i32.const 0) (call $read
              (i64.or (i64.extend_i32_u (local.get $guess)) (i64.const 0x7000000000000000))
              (i32.const 0) (i32.const 2048) (i32.const 1)))
          (then)
          (else (local.set $verdict (i64.const 0x401))))
        (br_if $next_guess (local.get $guess)))
      (br $again)))
)
