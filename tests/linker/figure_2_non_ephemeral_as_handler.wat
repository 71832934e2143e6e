;; Figure 2's NonEphemeral given to AddHandler: in the table of handlers, although no handler calls it.
;; verdict: refuse
;; message: a handler reaches it: run -> non_ephemeral -> spine:core.region
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:core" "region" (func $region (param i32) (result i64)))
  (type $handler (func (param i32) (result i64)))
  (table funcref (elem $good_handler $non_ephemeral))
  (memory (export "memory") 1)
  (func $good_handler (type $handler) (i64.const 0))
  (func $non_ephemeral (type $handler) (call $region (local.get 0)))
  (func $run (export "run")
    (drop (call_indirect (type $handler)
      (i32.const 0) (i32.wrap_i64 (call $next (i64.const 0))))))
)
