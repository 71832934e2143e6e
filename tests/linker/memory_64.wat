;; Addresses of 64 bits would have to be compared.
;; verdict: refuse
;; message: not a WebAssembly module that can be linked: memory64 must be enabled
(module
  (memory (export "memory") i64 1)
  (func (export "run"))
)
