;; The path is printed from the export to the interface, by the shortest way.
;; verdict: refuse
;; message: a handler reaches it: run -> learn -> install -> spine:core.add_handler
(module
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $run (export "run") (call $forward) (call $learn))
  (func $forward (call $look_up))
  (func $look_up (call $forward) (call $learn))
  (func $learn (call $install))
  (func $install (drop (call $add_handler (i32.const 2) (i32.const 0))))
)
