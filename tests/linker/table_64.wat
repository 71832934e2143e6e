;; verdict: refuse
;; message: memory64 must be enabled
(module
  (table i64 4 funcref)
  (memory (export "memory") 1)
  (func (export "run")))
