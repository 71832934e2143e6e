;; Linkers of WebAssembly export __heap_base and its like.
;; verdict: accept
(module
  (global (export "__heap_base") i32 (i32.const 1024))
  (memory (export "memory") 1)
  (func (export "run"))
)
