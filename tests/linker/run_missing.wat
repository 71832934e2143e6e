;; Nothing to enter.
;; verdict: refuse
;; message: does not export the function `run`
(module
  (memory (export "memory") 1)
)
