;; Takes more of its shadow stack in each call and never gives it back: without the runtime restoring
;; the pointer, the 64th call would trap for another reason than the first.
;; fate: struck out_of_fuel
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (memory (export "memory") 1)
  (global $__stack_pointer (export "__stack_pointer") (mut i32) (i32.const 4096))
  (func $run (export "run") (local $slot i32) (local $verdict i64)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (global.set $__stack_pointer (i32.sub (global.get $__stack_pointer) (i32.const 64)))
      (if (i32.lt_s (global.get $__stack_pointer) (i32.const 4032)) (then (unreachable)))
      (loop $forever (br $forever))
      (br $again)))
)
