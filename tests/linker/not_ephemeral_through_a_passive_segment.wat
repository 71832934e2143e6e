;; A function in a segment that no table takes: counted as reachable, for who would say it never is.
;; verdict: refuse
;; message: a handler reaches it: run -> install -> spine:core.add_handler
(module
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (type $handler (func (param i32)))
  (table funcref (elem $harmless))
  (elem $later func $install)
  (memory (export "memory") 1)
  (func $harmless (type $handler))
  (func $install (type $handler) (drop (call $add_handler (local.get 0) (i32.const 0))))
  (func $run (export "run") (call_indirect (type $handler) (i32.const 1) (i32.const 0)))
)
