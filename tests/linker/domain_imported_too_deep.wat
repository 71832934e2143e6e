;; Calls through four more extensions, where three have a stack.
;; verdict: refuse
;; message: the domain `a` leads through other extensions to a depth of more than 4, this one included
;; loaded: a | call | links b
;; loaded: b | call | links c
;; loaded: c | call | links d
;; loaded: d | call
(module
  (import "a" "call" (func))
  (memory (export "memory") 1)
  (func (export "run"))
)
