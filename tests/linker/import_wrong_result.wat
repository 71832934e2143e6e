;; send answers a number.
;; verdict: refuse
;; message: the interface is (i32) -> (i32), the module declares (i32) -> ()
;; domains: core, host
(module
  (import "spine:host" "send" (func (param i32)))
  (memory (export "memory") 1)
  (func (export "run"))
)
