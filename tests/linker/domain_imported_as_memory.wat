;; Memory stays with its extension.
;; verdict: refuse
;; message: the import `flow.memory` is a memory: only functions can be imported
;; loaded: flow | reset
(module
  (import "flow" "memory" (memory 1))
  (func (export "run"))
)
