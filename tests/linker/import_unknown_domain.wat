;; A domain nobody has heard of.
;; verdict: refuse
;; message: cannot resolve the import `spine:disk.read`
;; domains: core, net
(module
  (import "spine:disk" "read" (func))
  (memory (export "memory") 1)
  (func (export "run"))
)
