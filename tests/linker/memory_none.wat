;; Slots need a memory to be in.
;; verdict: refuse
;; message: the module defines 0 memories, where exactly one is needed
(module
  (func (export "run"))
)
