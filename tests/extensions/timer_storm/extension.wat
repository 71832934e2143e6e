;; Arms as many timers as it gets, as soon as it gets them, in every message, and cancels what it never armed.
;; domains: timer
;; fate: slow
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:timer" "arm" (func $arm (param i32 i32 i64) (result i32)))
  (import "spine:timer" "cancel" (func $cancel (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run")
    (loop $again
      (if (i32.wrap_i64 (call $next (i64.const 0))) (then
        (drop (call $cancel (i32.const 0x7fffffff)))
        (loop $more
          (br_if $more (i32.ge_s (call $arm (i32.const 0) (i32.const 12) (i64.const 1)) (i32.const 0))))
        (drop (call $arm (i32.const 0) (i32.const 1) (i64.const 1)))
        (br $again))))))
