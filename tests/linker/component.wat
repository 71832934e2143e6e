;; verdict: refuse
;; message: encoded as a component
;; A component has modules inside, whose sections look like its own.
(component
  (core module
    (memory (export "memory") 1)
    (func (export "run"))))
