;; Breaks no rule: uses nearly all of the fuel of each message, and all of its memory.
;; fate: slow
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (memory (export "memory") 256)
  (func $run (export "run") (local $slot i32) (local $verdict i64)
    (local $left i32) (local $address i32)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (local.set $verdict (i64.const 0))
      (local.set $left (i32.const 340))
      (loop $more
        (local.set $address (i32.and (i32.add (i32.mul (local.get $address) (i32.const 5)) (i32.const 4097)) (i32.const 0xfffffc)))
        (i32.store (local.get $address) (i32.load (local.get $address)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $more (local.get $left)))
      (br $again)))
)
