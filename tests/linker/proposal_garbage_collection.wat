;; Nothing is allocated at run time.
;; verdict: refuse
;; message: not a WebAssembly module that can be linked
(module
  (type (struct (field i32)))
  (memory (export "memory") 1)
  (func (export "run"))
)
