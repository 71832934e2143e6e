;; Reads far behind its memory, its slots and its regions.
;; fate: struck trapped
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (memory (export "memory") 1)
  (func $run (export "run") (local $slot i32) (local $verdict i64)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (drop (i32.load offset=4000000000 (i32.const 200000000)))
      (br $again)))
)
