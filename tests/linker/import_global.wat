;; Position-independent modules want one.
;; verdict: refuse
;; message: the import `env.__memory_base` is a global
(module
  (import "env" "__memory_base" (global i32))
  (memory (export "memory") 1)
  (func (export "run"))
)
