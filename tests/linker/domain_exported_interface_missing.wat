;; The manifest declares an interface that the module does not have.
;; verdict: refuse
;; message: declares the interface `flow.reset`, and the module exports no function of that name
;; exports: flow | count i64 i32 -> i64 | reset
(module
  (memory (export "memory") 1)
  (func (export "run"))
  (func (export "flow.count") (param i64 i32) (result i64) (i64.const 1))
  (func (export "reset"))
)
