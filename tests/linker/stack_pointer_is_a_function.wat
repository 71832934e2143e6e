;; The name alone does not make it one.
;; verdict: refuse
;; message: the export `__stack_pointer` is not a mutable i32 global
(module
  (memory (export "memory") 1)
  (func (export "__stack_pointer"))
  (func (export "run"))
)
