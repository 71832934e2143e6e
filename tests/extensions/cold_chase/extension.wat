;; Breaks no rule: follows pointers through all of its memory, and each message goes on where the last one stopped, so that what it touches is in no cache.
;; fate: slow
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (memory (export "memory") 256)
  ;; Each line of 64 bytes holds the address of another; all of them are one ring.
  (func (export "init") (local $line i32)
    (loop $more
      (i32.store (i32.shl (local.get $line) (i32.const 6))
        (i32.shl (i32.and (i32.add (i32.mul (local.get $line) (i32.const 1664525)) (i32.const 1013904223)) (i32.const 0x3ffff)) (i32.const 6)))
      (local.set $line (i32.add (local.get $line) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $line) (i32.const 0x40000)))))
  (func $run (export "run") (local $slot i32) (local $at i32) (local $left i32)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (i64.const 0))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (local.set $left (i32.const 36))
      (loop $more
        ;; Where it stopped, also if it was stopped; the rest of line 0 is free.
        (i32.load (i32.const 16))
        (i32.load) ;; times 64
        (local.set $at)
        (i32.store (i32.const 16) (local.get $at))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $more (local.get $left)))
      (br $again)))
)
