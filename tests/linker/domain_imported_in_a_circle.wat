;; The next version of an exporter, linked against one of its own importers' importers.
;; verdict: refuse
;; message: exports the domain `flow` and is linked against `sums`, whose own calls lead back to `flow`
;; exports: flow | reset
;; loaded: flow | reset
;; loaded: means | mean -> i64 | links flow
;; loaded: sums | total -> i64 | links means
(module
  (import "sums" "total" (func (result i64)))
  (memory (export "memory") 1)
  (func (export "run"))
  (func (export "flow.reset"))
)
