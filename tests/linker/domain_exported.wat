;; A domain of its own, with functions of the types that the manifest declares.
;; verdict: accept
;; exports: flow | count i64 i32 -> i64 | reset
(module
  (memory (export "memory") 1)
  (func (export "run"))
  (func (export "flow.count") (param i64 i32) (result i64) (i64.const 1))
  (func (export "flow.reset"))
)
