;; Interfaces of two other extensions, one of which is linked against the other.
;; verdict: accept
;; loaded: flow | count i64 i32 -> i64 | reset | links sums
;; loaded: sums | total -> i64
(module
  (import "flow" "count" (func $count (param i64 i32) (result i64)))
  (import "sums" "total" (func $total (result i64)))
  (memory (export "memory") 1)
  (func (export "run")
    (drop (call $count (i64.const 1) (i32.const 2)))
    (drop (call $total)))
)
