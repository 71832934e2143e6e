;; The least an extension can be.
;; verdict: accept
(module
  (memory (export "memory") 1)
  (func (export "run"))
)
