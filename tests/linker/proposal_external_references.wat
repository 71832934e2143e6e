;; Nothing of the host's is passed in by reference.
;; verdict: refuse
;; message: not a WebAssembly module that can be linked
(module
  (memory (export "memory") 1)
  (func (export "run") (local externref))
)
