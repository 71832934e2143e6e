;; An extension that would call itself through the adapter.
;; verdict: refuse
;; message: exports the domain `flow` and is linked against `flow`, whose own calls lead back to `flow`
;; exports: flow | reset
;; loaded: flow | reset
(module
  (import "flow" "reset" (func))
  (memory (export "memory") 1)
  (func (export "run"))
  (func (export "flow.reset"))
)
