;; Wants a region, and does nothing with it.
;; handlers: 21, 22
;; regions: 1
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "run")
    (loop $again
      (br_if $again (i32.wrap_i64 (call $next (i64.const 0))))))
)
