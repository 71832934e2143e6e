;; Nobody else runs in an extension.
;; verdict: refuse
;; message: threads must be enabled
(module
  (memory (export "memory") 1 1 shared)
  (func (export "run"))
)
