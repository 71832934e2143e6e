;; Each call sends, keeps hold of what it can and then traps, in six ways by turns.
;; domains: host, peer
;; fate: struck
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:host" "send" (func $host (param i32) (result i32)))
  (import "spine:peer" "send" (func $peer (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\02")
  (func $deeper (call $deeper) (call $deeper))
  (func $run (export "run") (local $slot i32) (local $verdict i64)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (drop (call $host (i32.const 0)))
      (drop (call $peer (i32.const 1) (i32.const 0)))
      (i32.store (i32.const 1024) (i32.add (i32.load (i32.const 1024)) (i32.const 1)))
      (block $6 (block $5 (block $4 (block $3 (block $2 (block $1
        (br_table $1 $2 $3 $4 $5 $6 (i32.rem_u (i32.load (i32.const 1024)) (i32.const 6))))
        (unreachable))
        (drop (i32.load (i32.const -4)) ))
        (i32.store (i32.const -4) (i32.const 0)))
        (drop (i32.div_s (i32.const 1) (i32.const 0))))
        (call $deeper))
      (loop $forever (br $forever))
      (br $again)))
)
