;; A domain that exists, and no such interface in it.
;; verdict: refuse
;; message: cannot resolve the import `spine:core.halt`: no domain has such an interface
(module
  (import "spine:core" "halt" (func))
  (memory (export "memory") 1)
  (func (export "run"))
)
