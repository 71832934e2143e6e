;; The loop that spine-sdk writes: ask for a message, hand in a verdict, until there is none.
;; verdict: accept
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "run") (local $message i64)
    (loop $again
      (local.set $message (call $next (i64.const 0)))
      (br_if $again (i64.ne (local.get $message) (i64.const 0)))))
)
