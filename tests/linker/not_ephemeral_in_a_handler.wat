;; Figure 2's NonEphemeral: the loop itself calls AddHandler.
;; verdict: refuse
;; message: `spine:core.add_handler` is not ephemeral, and may be called from `init` only; a handler reaches it: run -> spine:core.add_handler
(module
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $run (export "run")
    (drop (call $add_handler (i32.const 2) (i32.const 0))))
)
