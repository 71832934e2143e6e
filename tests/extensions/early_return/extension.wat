;; Leaves its loop with messages still waiting for a verdict.
;; fate: struck returned_early
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (memory (export "memory") 1)
  (func $run (export "run")
    (drop (call $next (i64.const 0))))
)
