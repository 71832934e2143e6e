;; The interface itself is in a table.
;; verdict: refuse
;; message: `spine:core.add_handler` is not ephemeral, and may be called from `init` only; the module also uses it as a value
(module
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (table funcref (elem $add_handler))
  (memory (export "memory") 1)
  (func (export "run"))
)
