;; The same written as an expression, behind a null.
;; verdict: refuse
;; message: the module also uses it as a value
(module
  (import "spine:core" "region" (func $region (param i32) (result i64)))
  (table 4 funcref)
  (elem (table 0) (offset (i32.const 1)) funcref (ref.null func) (ref.func $region))
  (memory (export "memory") 1)
  (func (export "run"))
)
