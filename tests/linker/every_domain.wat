;; Every interface there is, with its right type.
;; verdict: accept
;; domains: core, buffer, net, peer, host, kernel, timer
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
  (import "spine:core" "region" (func (param i32) (result i64)))
  (import "spine:buffer" "read" (func (param i64 i32 i32 i32) (result i32)))
  (import "spine:buffer" "write" (func (param i64 i32 i32 i32) (result i32)))
  (import "spine:buffer" "release" (func (param i64) (result i32)))
  (import "spine:host" "send" (func (param i32) (result i32)))
  (import "spine:peer" "send" (func (param i32 i32) (result i32)))
  (import "spine:timer" "arm" (func (param i32 i32 i64) (result i32)))
  (import "spine:timer" "cancel" (func (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run"))
)
