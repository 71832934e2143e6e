;; Figure 2's IllegalHandler: it calls a procedure that is not ephemeral.
;; verdict: refuse
;; message: a handler reaches it: run -> illegal_handler -> non_ephemeral -> spine:core.add_handler
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (type $handler (func (param i32) (result i64)))
  (table funcref (elem $good_handler $illegal_handler))
  (memory (export "memory") 1)
  (func $good_handler (type $handler) (i64.const 0))
  (func $non_ephemeral (drop (call $add_handler (i32.const 5) (i32.const 0))))
  (func $illegal_handler (type $handler) (call $non_ephemeral) (i64.const 0))
  (func $run (export "run")
    (drop (call_indirect (type $handler)
      (i32.const 0) (i32.wrap_i64 (call $next (i64.const 0))))))
)
