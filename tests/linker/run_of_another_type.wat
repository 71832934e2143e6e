;; The runtime calls it with nothing and expects nothing.
;; verdict: refuse
;; message: the export `run` must be a function of type () -> (), not (i32) -> (i64)
(module
  (memory (export "memory") 1)
  (func (export "run") (param i32) (result i64) (i64.const 0))
)
