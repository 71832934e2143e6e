;; The domain is there, and has no such interface.
;; verdict: refuse
;; message: cannot resolve the import `flow.total`: the domain `flow` that another extension exports has count, reset; domains tried: core, flow (exported)
;; loaded: flow | count i64 i32 -> i64 | reset
(module
  (import "flow" "total" (func (result i64)))
  (memory (export "memory") 1)
  (func (export "run"))
)
