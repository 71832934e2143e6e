;; Multiple memories are not supported.
;; verdict: refuse
;; message: not a WebAssembly module that can be linked: multiple memories
(module
  (memory (export "memory") 1)
  (memory 1)
  (func (export "run"))
)
