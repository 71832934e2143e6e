;; An interface passed on as it is, so that calls would go through an extension that knows nothing of them.
;; verdict: refuse
;; message: declares the interface `flow.reset` as () -> (), and the module's export is no function of its own
;; exports: flow | count i64 i32 -> i64 | reset
;; loaded: other | reset
(module
  (import "other" "reset" (func $reset))
  (memory (export "memory") 1)
  (func (export "run"))
  (func (export "flow.count") (param i64 i32) (result i64) (i64.const 1))
  (export "flow.reset" (func $reset))
)
