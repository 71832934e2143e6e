;; No stack pointer of a 32-bit memory.
;; verdict: refuse
;; message: the export `__stack_pointer` is not a mutable i32 global
(module
  (global (export "__stack_pointer") (mut i64) (i64.const 0))
  (memory (export "memory") 1)
  (func (export "run"))
)
