;; The interface has no result.
;; verdict: refuse
;; message: the import `flow.reset` has the wrong signature: the interface is () -> (), the module declares () -> (i32)
;; loaded: flow | count i64 i32 -> i64 | reset
(module
  (import "flow" "reset" (func (result i32)))
  (memory (export "memory") 1)
  (func (export "run"))
)
