;; An imported interface is a function as any other: it can be called through a table.
;; verdict: accept
;; loaded: flow | reset
(module
  (import "flow" "reset" (func $reset))
  (memory (export "memory") 1)
  (table 1 funcref)
  (elem (i32.const 0) $reset)
  (func (export "run") (call_indirect (i32.const 0)))
)
