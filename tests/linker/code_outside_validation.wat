;; The stack is empty where a value is needed.
;; verdict: refuse
;; message: type mismatch
(module
  (memory (export "memory") 1)
  (func (export "run") i32.add drop)
)
