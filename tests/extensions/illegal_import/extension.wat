;; Wants a function that no domain has.
;; fate: unlinkable no domain has
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:core" "format_disk" (func $format (param i32) (result i32)))
  (memory (export "memory") 1)
  (func $run (export "run")
    (drop (call $format (i32.const 0))))
)
