;; The interface exists, but the manifest does not ask for its domain.
;; verdict: refuse
;; message: it is the interface `send` of the domain `peer`, which the extension's manifest does not ask for; domains tried: core, net
;; domains: core, net
(module
  (import "spine:peer" "send" (func (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run"))
)
