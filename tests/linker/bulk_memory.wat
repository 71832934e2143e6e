;; memory.copy, memory.fill and passive data: what compilers emit for memcpy.
;; verdict: accept
(module
  (memory (export "memory") 1)
  (data $greeting "hello")
  (func (export "run")
    (memory.init $greeting (i32.const 0) (i32.const 0) (i32.const 5))
    (memory.copy (i32.const 100) (i32.const 0) (i32.const 5))
    (memory.fill (i32.const 200) (i32.const 1) (i32.const 5)))
)
