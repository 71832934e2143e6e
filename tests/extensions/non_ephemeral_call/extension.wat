;; Figure 2's IllegalHandler: its handler calls a procedure that is not ephemeral.
;; fate: unlinkable run -> illegal_handler -> non_ephemeral -> spine:core.add_handler
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $illegal_handler (call $non_ephemeral))
  (func $non_ephemeral (drop (call $add_handler (i32.const 11) (i32.const 0))))
  (func $run (export "run") (local $slot i32) (local $verdict i64)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (call $illegal_handler)
      (br $again)))
)
