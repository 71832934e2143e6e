;; The manifest asks for more than the application grants.
;; verdict: refuse
;; message: the extension `case` asks for the domain `kernel`, which the policy does not grant; granted: core, net
;; domains: core, kernel
;; policy: core, net
(module
  (memory (export "memory") 1)
  (func (export "run"))
)
