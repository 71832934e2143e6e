;; A system interface that no domain has.
;; verdict: refuse
;; message: cannot resolve the import `wasi_snapshot_preview1.fd_write`: no domain has such an interface; domains tried: core
(module
  (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run"))
)
