;; Calls ten times for each message: all that its fuel allows.
;; handlers: 11, 12
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "service" "count" (func $call (result i64)))
  (memory (export "memory") 1)
  (func (export "run")
    (local $verdict i64) (local $times i32)
    (loop $again
      (if (i32.wrap_i64 (call $next (local.get $verdict))) (then
        (local.set $times (i32.const 10))
        (loop $more (drop (call $call))
          (local.set $times (i32.sub (local.get $times) (i32.const 1)))
          (br_if $more (local.get $times)))
        (br $again))))))
