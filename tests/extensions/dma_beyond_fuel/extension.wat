;; Asks for twelve strided elements of 65,535 pieces of 65,535 bytes each: 51 gigabytes for one message.
;; domains: framebuffer
;; fate: dropped bad_verdict
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (memory (export "memory") 1)
  (func $run (export "run") (local $slot i32) (local $verdict i64) (local $element i32)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (local.set $element (i32.const 0))
      (memory.fill (i32.add (local.get $slot) (i32.const 16)) (i32.const 0) (i32.const 240))
      (loop $more
        (i32.store16 offset=24
          (i32.add (local.get $slot) (i32.mul (local.get $element) (i32.const 20))) (i32.const 65535))
        (i32.store16 offset=28
          (i32.add (local.get $slot) (i32.mul (local.get $element) (i32.const 20))) (i32.const 65535))
        (local.set $element (i32.add (local.get $element) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $element) (i32.const 12))))
      (local.set $verdict (i64.const 0x20c0007))
      (br $again)))
)
