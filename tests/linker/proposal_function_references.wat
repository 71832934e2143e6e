;; verdict: refuse
;; message: function references support is not enabled
;; A call by reference would be an edge that the ephemeral analysis does not see.
(module
  (type $nothing (func))
  (memory (export "memory") 1)
  (elem declare func $one)
  (func $one)
  (func (export "run") (call_ref $nothing (ref.func $one))))
