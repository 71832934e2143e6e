;; One element over the limit.
;; verdict: refuse
;; message: elements of the table: 4097, and the limit is 4096
(module
  (table 4097 funcref)
  (memory (export "memory") 1)
  (func (export "run"))
)
