;; The host side of a table could change it.
;; verdict: refuse
;; message: the export `functions` is a table
(module
  (table (export "functions") 1 funcref)
  (memory (export "memory") 1)
  (func (export "run"))
)
