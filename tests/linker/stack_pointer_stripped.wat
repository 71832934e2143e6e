;; Names are gone, and two globals could be it.
;; verdict: refuse
;; message: the module has 2 mutable i32 globals, and none is named or exported `__stack_pointer`
(module
  (global (mut i32) (i32.const 0))
  (global (mut i32) (i32.const 0))
  (memory (export "memory") 1)
  (func (export "run"))
)
