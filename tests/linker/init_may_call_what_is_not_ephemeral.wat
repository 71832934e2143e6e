;; AddHandler of Figure 2, where it belongs.
;; verdict: accept
(module
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (import "spine:core" "region" (func $region (param i32) (result i64)))
  (memory (export "memory") 1)
  (func (export "init")
    (drop (call $add_handler (i32.const 1) (i32.const 0)))
    (drop (call $region (i32.const 0))))
  (func (export "run"))
)
