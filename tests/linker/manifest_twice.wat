;; Which of the two?
;; verdict: refuse
;; message: 2 custom sections `spine.manifest`
(module
  (@custom "spine.manifest" "")
  (memory (export "memory") 1)
  (func (export "run"))
)
