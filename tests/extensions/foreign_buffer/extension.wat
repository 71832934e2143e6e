;; Guesses its neighbours' references: generations are given out in order, so those of the packets
;; before and after its own are easily found; then it tries to release them.
;; domains: buffer
;; fate: answered
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:buffer" "release" (func $release (param i64) (result i32)))
  (memory (export "memory") 1)
  (func $run (export "run") (local $slot i32) (local $verdict i64)
    (local $guess i32) (local $reference i64)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (local.set $verdict (i64.const 0))
      (local.set $guess (i32.const 255))
      (loop $next_guess
        ;; The generation up to eight back and seven on, the index up to eight back and seven on.
        (local.set $reference (i64.add (i64.load offset=8 (local.get $slot)) (i64.add
          (i64.extend_i32_s (i32.sub (i32.and (local.get $guess) (i32.const 15)) (i32.const 8)))
          (i64.shl
            (i64.extend_i32_s (i32.sub (i32.shr_u (local.get $guess) (i32.const 4)) (i32.const 8)))
            (i64.const 32)))))
        (if (i32.ge_s (call $release (local.get $reference)) (i32.const 0)) (then (local.set $verdict (i64.const 0x401))))
        (local.set $guess (i32.sub (local.get $guess) (i32.const 2)))
        (br_if $next_guess (i32.gt_s (local.get $guess) (i32.const 0))))
      (br $again)))
)
