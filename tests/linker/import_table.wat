;; A table from outside could change under the linker.
;; verdict: refuse
;; message: the import `env.__indirect_function_table` is a table
(module
  (import "env" "__indirect_function_table" (table 1 funcref))
  (memory (export "memory") 1)
  (func (export "run"))
)
