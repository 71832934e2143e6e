;; A domain that no extension exports, beside one that is there.
;; verdict: refuse
;; message: cannot resolve the import `flow.count`: no domain has such an interface; domains tried: core, sums (exported) (a domain `flow` would be another extension's
;; loaded: sums | total -> i64
(module
  (import "flow" "count" (func (param i64 i32) (result i64)))
  (memory (export "memory") 1)
  (func (export "run"))
)
