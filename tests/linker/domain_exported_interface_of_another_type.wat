;; The manifest declares an interface with another type.
;; verdict: refuse
;; message: declares the interface `flow.count` as (i64, i32) -> (i64), and the module's export is (i64, i64) -> (i64)
;; exports: flow | count i64 i32 -> i64 | reset
(module
  (memory (export "memory") 1)
  (func (export "run"))
  (func (export "flow.count") (param i64 i64) (result i64) (i64.const 1))
  (func (export "flow.reset"))
)
