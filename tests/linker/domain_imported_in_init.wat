;; `init` is code as well, and the adapter refuses the call there: here it only has to have the right type.
;; verdict: accept
;; loaded: flow | reset
(module
  (import "flow" "reset" (func $reset))
  (memory (export "memory") 1)
  (func (export "run"))
  (func (export "init") (call $reset))
)
