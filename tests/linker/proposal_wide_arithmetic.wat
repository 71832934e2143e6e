;; verdict: refuse
;; message: wide arithmetic support is not enabled
(module
  (memory (export "memory") 1)
  (func (export "run")
    (i64.mul_wide_u (i64.const 1) (i64.const 2))
    drop drop))
