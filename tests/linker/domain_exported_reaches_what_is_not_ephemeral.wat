;; Whoever calls an interface may be stopped in it: so it may reach only what is ephemeral, as a handler.
;; verdict: refuse
;; message: a handler reaches it: flow.reset -> spine:core.region
;; exports: flow | reset
(module
  (import "spine:core" "region" (func $region (param i32) (result i64)))
  (memory (export "memory") 1)
  (func (export "run"))
  (func (export "flow.reset") (drop (call $region (i32.const 0))))
)
