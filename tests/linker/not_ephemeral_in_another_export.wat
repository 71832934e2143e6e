;; Every export but init is a root: a hostile module writes its own loop.
;; verdict: refuse
;; message: a handler reaches it: helper -> spine:core.add_handler
(module
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run"))
  (func (export "helper") (drop (call $add_handler (i32.const 2) (i32.const 0))))
)
