;; What changes a table would blind the linker.
;; verdict: refuse
;; message: the function `change` uses table.fill: tables are fixed
(module
  (table $functions 2 funcref)
  (elem $some func $f)
  (func $f)
  (memory (export "memory") 1)
  (func $change (table.fill $functions (i32.const 0) (ref.null func) (i32.const 1)))
  (func (export "run"))
)
