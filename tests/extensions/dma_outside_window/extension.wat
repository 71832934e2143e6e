;; Has bytes moved to lines and pixels beyond its window on every side that numbers reach, into windows
;; it was not granted, and from addresses beyond its packet and its memory.
;; domains: framebuffer
;; fate: answered
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (memory (export "memory") 1)
  ;; Each element: source, line and x, length, window.
  (data (i32.const 0)
    "\00\00\00\00\ff\ff\00\00\40\00\00\00"
    "\00\00\00\00\00\00\ff\ff\40\00\00\00"
    "\00\00\00\00\10\00\00\00\40\00\00\00"
    "\00\00\00\00\0f\00\0f\00\c8\00\00\00"
    "\00\00\00\00\00\00\00\00\40\00\07\00"
    "\00\00\00\00\00\00\00\00\40\00\ff\00"
    "\f0\ff\ff\ff\00\00\00\00\40\00\00\00"
    "\ff\ff\ff\7f\00\00\00\00\ff\ff\00\00")
  (func $run (export "run") (local $slot i32) (local $verdict i64) (local $turn i32)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (memory.copy (i32.add (local.get $slot) (i32.const 16)) (i32.const 0) (i32.const 96))
      (local.set $turn (i32.xor (local.get $turn) (i32.const 1)))
      ;; From the packet and from its own memory by turns; messages have no packet.
      (local.set $verdict (select
        (select (i64.const 0x1080007) (i64.const 0x80007) (local.get $turn))
        (i64.const 0)
        (i32.load8_u offset=2 (local.get $slot))))
      (br $again)))
)
