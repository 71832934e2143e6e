;; It would run before anything is guarded.
;; verdict: refuse
;; message: the module has a start function (`boot`)
(module
  (memory (export "memory") 1)
  (func $boot)
  (start $boot)
  (func (export "run"))
)
