;; One page over the limit.
;; verdict: refuse
;; message: pages of memory: 257, and the limit is 256
(module
  (memory (export "memory") 257)
  (func (export "run"))
)
