;; What changes a table would blind the linker.
;; verdict: refuse
;; message: the function `change` uses table.copy: tables are fixed
(module
  (table $functions 2 funcref)
  (elem $some func $f)
  (func $f)
  (memory (export "memory") 1)
  (func $change (table.copy $functions $functions (i32.const 0) (i32.const 1) (i32.const 1)))
  (func (export "run"))
)
