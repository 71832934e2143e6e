;; The interface has other parameters.
;; verdict: refuse
;; message: the import `flow.count` has the wrong signature: the interface is (i64, i32) -> (i64), the module declares (i32, i64) -> (i64)
;; loaded: flow | count i64 i32 -> i64 | reset
(module
  (import "flow" "count" (func (param i32 i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "run"))
)
