;; Exactly the limit of 256 pages.
;; verdict: accept
(module
  (memory (export "memory") 256)
  (func (export "run"))
)
