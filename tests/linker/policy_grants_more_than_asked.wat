;; What is granted beyond the manifest is no reason to refuse.
;; verdict: accept
;; domains: core
;; policy: core, net, peer
(module
  (memory (export "memory") 1)
  (func (export "run"))
)
