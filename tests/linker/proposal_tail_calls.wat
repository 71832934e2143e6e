;; Not supported.
;; verdict: refuse
;; message: tail calls support is not enabled
(module
  (memory (export "memory") 1)
  (func $f)
  (func (export "run") (return_call $f))
)
