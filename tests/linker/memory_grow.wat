;; Memory is fixed when an extension is loaded (SPINE 3.4).
;; verdict: refuse
;; message: the function `allocate` uses memory.grow
(module
  (memory (export "memory") 1)
  (func $allocate (drop (memory.grow (i32.const 1))))
  (func (export "run"))
)
