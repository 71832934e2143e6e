;; A domain that an extension exports, and that the policy does not grant.
;; verdict: refuse
;; message: cannot resolve the import `flow.reset`: an extension exports the domain `flow`, and the policy does not grant it; domains tried: core
;; ungranted: flow | reset
(module
  (import "flow" "reset" (func))
  (memory (export "memory") 1)
  (func (export "run"))
)
