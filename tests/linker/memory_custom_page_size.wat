;; verdict: refuse
;; message: the custom page sizes proposal must be enabled
(module
  (memory (export "memory") 1 (pagesize 1))
  (func (export "run")))
