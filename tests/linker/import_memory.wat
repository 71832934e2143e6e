;; Memory comes from the extension alone.
;; verdict: refuse
;; message: the import `spine:core.memory` is a memory: only functions can be imported
(module
  (import "spine:core" "memory" (memory 1))
  (export "memory" (memory 0))
  (func (export "run"))
)
