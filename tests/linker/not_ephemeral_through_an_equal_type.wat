;; Types are compared by what they are, not by their number.
;; verdict: refuse
;; message: a handler reaches it: run -> install -> spine:core.add_handler
(module
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (type $one (func (param i32)))
  (type $other (func (param i32)))
  (table funcref (elem $install))
  (memory (export "memory") 1)
  (func $install (type $one) (drop (call $add_handler (local.get 0) (i32.const 0))))
  (func $run (export "run") (call_indirect (type $other) (i32.const 1) (i32.const 0)))
)
