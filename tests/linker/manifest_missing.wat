;; Nobody knows what this is.
;; verdict: refuse
;; message: no custom section `spine.manifest`
;; manifest: none
(module
  (memory (export "memory") 1)
  (func (export "run"))
)
