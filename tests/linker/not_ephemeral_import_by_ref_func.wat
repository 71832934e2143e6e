;; The interface itself as a value.
;; verdict: refuse
;; message: the module also uses it as a value
(module
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (elem declare func $add_handler)
  (memory (export "memory") 1)
  (func (export "run") (drop (ref.func $add_handler)))
)
