;; Exported again, it is a root like any other.
;; verdict: refuse
;; message: `spine:core.add_handler` is not ephemeral
(module
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "init") (export "again") (drop (call $add_handler (i32.const 1) (i32.const 0))))
  (func (export "run"))
)
