;; Two names for one interface are one interface.
;; verdict: accept
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:core" "next" (func $again (param i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "run"))
)
