;; A stack pointer is an i32: these are none, and nothing is to be restored.
;; verdict: accept
(module
  (global (mut i64) (i64.const 0))
  (global (mut f64) (f64.const 0))
  (memory (export "memory") 1)
  (func (export "run"))
)
