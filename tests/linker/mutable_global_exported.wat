;; Only the stack pointer is the runtime's business.
;; verdict: refuse
;; message: the export `counter` is a mutable global
(module
  (global (export "counter") (mut i32) (i32.const 0))
  (global $__stack_pointer (mut i32) (i32.const 0))
  (memory (export "memory") 1)
  (func (export "run"))
)
