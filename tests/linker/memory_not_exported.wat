;; The runtime must find it.
;; verdict: refuse
;; message: the memory is not exported as `memory`
(module
  (memory 1)
  (func (export "run"))
)
