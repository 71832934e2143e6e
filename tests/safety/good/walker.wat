;; Touches 500 pages of its region for each message, one after the other.
;; handlers: 21, 22
;; regions: 1
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (memory (export "memory") 1)
  ;; Its region is behind its page and the slots, of one page.
  (func (export "run") (local $left i32) (local $at i32)
    (loop $again
      (if (i64.eqz (call $next (i64.const 0))) (then (return)))
      (local.set $left (i32.const 500))
      (loop $more
        (drop (i32.load offset=131072 (local.get $at)))
        (local.set $at (i32.and (i32.add (local.get $at) (i32.const 4096)) (i32.const 0x1fffff)))
        (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
      (br $again)))
)
