;; Exports the domain `service`: each interface does what its name says.
;; handlers: 41, 42
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (memory (export "memory") 1)
  (global $__stack_pointer (export "__stack_pointer") (mut i32) (i32.const 8192))
  (func (export "service.count") (result i64)
    (i64.store (i32.const 1024) (i64.add (i64.load (i32.const 1024)) (i64.const 1)))
    (i64.load (i32.const 1024)))
  (func (export "service.trap") (unreachable))
  (func (export "service.loop")
    (global.set $__stack_pointer (i32.sub (global.get $__stack_pointer) (i32.const 64)))
    (loop $forever (i64.store (global.get $__stack_pointer) (i64.const 1)) (br $forever)))
  (func $deeper (call $deeper))
  (func (export "service.recurse") (call $deeper))
  (func (export "run")
    (loop $again (br_if $again (i32.wrap_i64 (call $next (i64.const 0)))))))
