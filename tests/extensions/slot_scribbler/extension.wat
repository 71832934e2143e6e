;; Writes over all 64 slots while it handles the first message of its burst, headers and all, to make
;; the runtime believe other lengths, buffers and handlers.
;; domains: net
;; fate: answered
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (memory (export "memory") 1)
  (func $run (export "run") (local $slot i32) (local $verdict i64)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (memory.fill (local.get $slot) (i32.const 0xff) (i32.const 4096))
      (local.set $verdict (i64.const 0))
      (br $again)))
)
