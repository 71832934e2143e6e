;; No room would be left for slots and regions.
;; verdict: refuse
;; message: the memory declares a maximum of 2 pages
(module
  (memory (export "memory") 1 2)
  (func (export "run"))
)
