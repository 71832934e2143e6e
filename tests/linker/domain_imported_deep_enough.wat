;; Calls through three more extensions, on two ways.
;; verdict: accept
;; loaded: b | call | links c, d
;; loaded: c | call | links d
;; loaded: d | call
(module
  (import "b" "call" (func))
  (import "d" "call" (func))
  (memory (export "memory") 1)
  (func (export "run"))
)
