;; The interface itself in a constant.
;; verdict: refuse
;; message: the module also uses it as a value
(module
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (global funcref (ref.func $add_handler))
  (memory (export "memory") 1)
  (func (export "run"))
)
