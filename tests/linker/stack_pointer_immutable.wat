;; It could not be restored.
;; verdict: refuse
;; message: the export `__stack_pointer` is not a mutable i32 global
(module
  (global (export "__stack_pointer") i32 (i32.const 0))
  (memory (export "memory") 1)
  (func (export "run"))
)
