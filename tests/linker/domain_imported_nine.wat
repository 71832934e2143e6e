;; More domains of others than an image has room for.
;; verdict: refuse
;; message: domains of other extensions: 9, and the limit is 8
;; loaded: d1 | call
;; loaded: d2 | call
;; loaded: d3 | call
;; loaded: d4 | call
;; loaded: d5 | call
;; loaded: d6 | call
;; loaded: d7 | call
;; loaded: d8 | call
;; loaded: d9 | call
(module
  (import "d1" "call" (func))
  (import "d2" "call" (func))
  (import "d3" "call" (func))
  (import "d4" "call" (func))
  (import "d5" "call" (func))
  (import "d6" "call" (func))
  (import "d7" "call" (func))
  (import "d8" "call" (func))
  (import "d9" "call" (func))
  (memory (export "memory") 1)
  (func (export "run"))
)
