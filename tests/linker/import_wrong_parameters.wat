;; next takes an i64.
;; verdict: refuse
;; message: the import `spine:core.next` has the wrong signature: the interface is (i64) -> (i64), the module declares (i32) -> (i64)
(module
  (import "spine:core" "next" (func (param i32) (result i64)))
  (memory (export "memory") 1)
  (func (export "run"))
)
