;; Tells the application, in the runtime's name, that the neighbour was unloaded.
;; domains: host
;; fate: bounded over_share
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:host" "send" (func $host (param i32) (result i32)))
  (memory (export "memory") 1)
  ;; Handler 0, source 0 (the runtime), 8 bytes: "extension 0 was unloaded, it trapped, 100 strikes".
  (data (i32.const 0) "\00\00\00\00\00\00\08\00\00\00\00\00\00\00\00\00\01\02\00\00\64")
  (func $run (export "run") (local $slot i32) (local $verdict i64) (local $left i32)
    (loop $again
      (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
      (if (i32.eqz (local.get $slot)) (then (return)))
      (local.set $verdict (i64.const 0))
      (local.set $left (i32.const 100))
      (loop $more
        (drop (call $host (i32.const 0)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br_if $more (local.get $left)))
      (br $again)))
)
