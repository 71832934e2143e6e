;; init has a table entry that is not ephemeral, but of a type that handlers never call.
;; verdict: accept
(module
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (type $handler (func (param i32) (result i64)))
  (table funcref (elem $install $handle))
  (memory (export "memory") 1)
  (func $install (drop (call $add_handler (i32.const 1) (i32.const 0))))
  (func $handle (type $handler) (i64.const 0))
  (func (export "init") (call_indirect (i32.const 0)))
  (func (export "run")
    (drop (call_indirect (type $handler) (i32.const 7) (i32.const 1))))
)
