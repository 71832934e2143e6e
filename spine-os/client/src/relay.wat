;; The relay: passes messages between its application and one endpoint on another machine.
;;
;; `relay.rs` fills in the words at the end of this file, and appends the manifest. `relay.wasm` is
;; this text as `wat2wasm relay.wat` makes it; a test compares them.
;;
;; A message's slot has the handler at 0, the source at 4, the length at 6, and the arguments from
;; 16 on.
(module
  (import "spine:core" "next" (func $next (param i64) (result i64)))
  (import "spine:peer" "send" (func $send_peer (param i32 i32) (result i32)))
  (import "spine:host" "send" (func $send_host (param i32) (result i32)))
  (memory (export "memory") 1)

  (func (export "run") (local $slot i32) (local $result i32)
    (loop $message
      ;; Every message is dropped once it was passed on (verdict 0); no slot: the burst is done.
      (local.set $slot (i32.wrap_i64 (call $next (i64.const 0))))
      (if (i32.eqz (local.get $slot)) (then (return)))

      ;; From the application to the peer; then the application hears what became of it.
      (if (i32.eq (i32.load16_u offset=4 (local.get $slot)) (i32.load16_u offset=6 (i32.const 0)))
        (then
          (i32.store16 (local.get $slot) (i32.load16_u offset=2 (i32.const 0)))
          (local.set $result (call $send_peer (i32.load16_u (i32.const 0)) (local.get $slot)))
          (i32.store16 (local.get $slot) (i32.load16_u offset=4 (i32.const 0)))
          (i32.store16 offset=6 (local.get $slot) (i32.const 4))
          (i32.store offset=16 (local.get $slot) (local.get $result))
          (drop (call $send_host (local.get $slot)))))

      ;; From that peer to the application, to the handler it was sent to.
      (if (i32.eq (i32.load16_u offset=4 (local.get $slot)) (i32.load16_u offset=8 (i32.const 0)))
        (then (drop (call $send_host (local.get $slot)))))
      (br $message)))

  ;; The words, 16 bits each: the peer's number, its handler, the application's handler that hears
  ;; what became of a message, and the sources of messages from the application and from the peer.
  (data (i32.const 0) "\00\00\00\00\00\00\00\00\00\00"))
