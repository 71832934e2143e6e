;; A table of handlers, none of which reaches anything but ephemeral interfaces.
;; verdict: accept
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (type $handler (func (param i32) (result i64)))
  (table funcref (elem $first $second))
  (memory (export "memory") 1)
  (func $first (type $handler) (i64.const 0))
  (func $second (type $handler) (call $next (i64.const 0)))
  (func (export "run")
    (drop (call_indirect (type $handler) (i32.const 7) (i32.const 1))))
)
