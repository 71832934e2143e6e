;; What a compiler emits: the name section says which global it is, and the linker exports it.
;; verdict: accept
(module
  (global $__stack_pointer (mut i32) (i32.const 65536))
  (global $counter (mut i32) (i32.const 0))
  (memory (export "memory") 1)
  (func (export "run")
    (global.set $counter (i32.add (global.get $counter) (i32.const 1)))
    (global.set $__stack_pointer (i32.sub (global.get $__stack_pointer) (i32.const 16))))
)
