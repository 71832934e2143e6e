;; As run.
;; verdict: refuse
;; message: the export `init` must be a function of type () -> (), not () -> (i32)
(module
  (memory (export "memory") 1)
  (func (export "init") (result i32) (i32.const 0))
  (func (export "run"))
)
