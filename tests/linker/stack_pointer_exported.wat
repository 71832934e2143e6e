;; Exported by the extension itself; no name is needed.
;; verdict: accept
(module
  (global (export "__stack_pointer") (mut i32) (i32.const 65536))
  (global (mut i32) (i32.const 0))
  (memory (export "memory") 1)
  (func (export "run"))
)
