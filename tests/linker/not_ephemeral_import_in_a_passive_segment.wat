;; A segment that no table takes yet: what is in it is a value all the same.
;; verdict: refuse
;; message: the module also uses it as a value
(module
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (elem $later func $add_handler)
  (memory (export "memory") 1)
  (func (export "run"))
)
