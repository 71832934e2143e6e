;; What a module calls itself must not reach a terminal as it is.
;; verdict: refuse
;; message: `spine:core.\u{1b}[2J`
(module
  (import "spine:core" "\1b[2J" (func))
  (memory (export "memory") 1)
  (func (export "run"))
)
