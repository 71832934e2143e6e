;; Calls what does not come back as it should.
;; handlers: 11, 12
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "service" "recurse" (func $call))
  (memory (export "memory") 1)
  (func (export "run")
    (local $verdict i64) (local $times i32)
    (loop $again
      (if (i32.wrap_i64 (call $next (local.get $verdict))) (then
        (call $call)
        (br $again))))))
