;; What changes a table would blind the linker.
;; verdict: refuse
;; message: the function `change` uses table.init: tables are fixed
(module
  (table $functions 2 funcref)
  (elem $some func $f)
  (func $f)
  (memory (export "memory") 1)
  (func $change (table.init $functions $some (i32.const 0) (i32.const 0) (i32.const 1)))
  (func (export "run"))
)
