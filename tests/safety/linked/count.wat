;; Calls once for each message, as it should.
;; handlers: 11, 12
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "service" "count" (func $call (result i64)))
  (memory (export "memory") 1)
  (func (export "run")
    (local $verdict i64) (local $times i32)
    (loop $again
      (if (i32.wrap_i64 (call $next (local.get $verdict))) (then
        (drop (call $call))
        (br $again))))))
