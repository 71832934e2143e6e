;; Asks for a DMA list of 31 elements, where 16 are the most: what lies behind the list would be read as one.
;; domains: framebuffer
;; fate: dropped bad_verdict
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (memory (export "memory") 1)
  (func $run (export "run") (local $slot i32) (local $verdict i64)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (local.set $verdict (i64.const 0x1f0007))
      (br $again)))
)
