;; No atomics: nobody else runs in an extension.
;; verdict: refuse
;; message: threads support is not enabled
(module
  (memory (export "memory") 1)
  (func (export "run") (drop (i32.atomic.load (i32.const 0))))
)
