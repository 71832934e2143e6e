;; init is no way round: whoever calls it does what it does.
;; verdict: refuse
;; message: a handler reaches it: run -> init -> spine:core.add_handler
(module
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $init (export "init") (drop (call $add_handler (i32.const 1) (i32.const 0))))
  (func $run (export "run") (call $init))
)
