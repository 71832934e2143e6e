;; Not supported.
;; verdict: refuse
;; message: exceptions proposal not enabled
(module
  (tag)
  (memory (export "memory") 1)
  (func (export "run"))
)
