;; Two tables, a handler calling through the second: refused for the second table, before anybody looks.
;; verdict: refuse
;; message: tables: 2, and the limit is 1
(module
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (type $handler (func (param i32)))
  (table $first 1 funcref)
  (table $second 1 funcref)
  (elem (table $second) (offset (i32.const 0)) func $install)
  (memory (export "memory") 1)
  (func $install (type $handler) (drop (call $add_handler (local.get 0) (i32.const 0))))
  (func (export "run") (call_indirect $second (type $handler) (i32.const 1) (i32.const 0)))
)
