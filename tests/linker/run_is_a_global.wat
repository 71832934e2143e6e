;; The right name on the wrong thing.
;; verdict: refuse
;; message: the export `run` must be a function of type () -> (), not something else
(module
  (memory (export "memory") 1)
  (global (export "run") i32 (i32.const 0))
)
