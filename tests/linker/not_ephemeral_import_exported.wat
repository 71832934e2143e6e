;; An import passed on as an export could be called by its name.
;; verdict: refuse
;; message: a handler reaches it: spine:core.add_handler
(module
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (export "add" (func $add_handler))
  (memory (export "memory") 1)
  (func (export "run"))
)
