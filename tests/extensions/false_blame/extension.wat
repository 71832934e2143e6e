;; Drops each packet under one of the runtime's own reasons, all of them by turns, to blame driver, wire and kernel.
;; fate: dropped bad_verdict
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (memory (export "memory") 1)
  (func $run (export "run") (local $slot i32) (local $verdict i64) (local $turn i32)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      ;; Where it stopped last time; its statics are its own.
      (local.set $turn (i32.load (i32.const 16)))
      (i32.store (i32.const 16) (i32.rem_u (i32.add (local.get $turn) (i32.const 1)) (i32.const 22)))
      ;; Verdict 1 is "drop", its reason stands in the second byte: 64 to 85.
      (local.set $verdict (i64.or (i64.const 1)
        (i64.shl (i64.extend_i32_u (i32.add (local.get $turn) (i32.const 64))) (i64.const 8))))
      (br $again)))
)
