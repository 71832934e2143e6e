;; What the manifest declares as an interface is no function.
;; verdict: refuse
;; message: declares the interface `flow.reset` as () -> (), and the module's export is no function of its own
;; exports: flow | count i64 i32 -> i64 | reset
(module
  (memory (export "memory") 1)
  (func (export "run"))
  (func (export "flow.count") (param i64 i32) (result i64) (i64.const 1))
  (global (export "flow.reset") i32 (i32.const 0))
)
