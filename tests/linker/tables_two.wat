;; One is enough for any compiler.
;; verdict: refuse
;; message: tables: 2, and the limit is 1
(module
  (table 1 funcref)
  (table 1 funcref)
  (memory (export "memory") 1)
  (func (export "run"))
)
