;; Exported, but not as the runtime knows it.
;; verdict: refuse
;; message: the export `heap` is a memory under another name
(module
  (memory (export "memory") (export "heap") 1)
  (func (export "run"))
)
