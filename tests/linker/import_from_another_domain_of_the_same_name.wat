;; send is in host and peer, not in net.
;; verdict: refuse
;; message: `spine:net.send`: no domain has such an interface; domains tried: core, net, host
;; domains: core, net, host
(module
  (import "spine:net" "send" (func (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run"))
)
