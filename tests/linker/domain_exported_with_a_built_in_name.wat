;; A domain that would be taken for the runtime's.
;; verdict: refuse
;; message: the extension exports a domain `net`, and that is a domain of the runtime
;; exports: net | send
(module
  (memory (export "memory") 1)
  (func (export "run"))
  (func (export "net.send"))
)
