//! A second extension on the card: ten microseconds for every fifth packet, and the host's messages.

use spine_abi::interface::{Domain, Domains};
use spine_abi::manifest::{FIXED_BYTES, HANDLER_BYTES, HandlerDeclaration, build};
use spine_abi::{Endpoint, HandlerNumber, Message};
use spine_fib::protocol::FORWARD;

use super::Failure;

/// Its handler for packets.
const PACKET: HandlerNumber = HandlerNumber(10);
/// Its handler for messages from the host.
const MESSAGE: HandlerNumber = HandlerNumber(11);

/// The handler of the n-th packet: every fifth is the second extension's.
pub(super) fn every_fifth(packet: u64) -> HandlerNumber {
    if packet % 5 == 4 { PACKET } else { FORWARD }
}

/// A message for it.
pub(super) fn message() -> Message {
    Message::small(MESSAGE, Endpoint::Host, b"flood")
}

/// The module. For a packet it counts down and forwards, for a message it does nothing.
///
/// The count makes 10 us at the card's time for a unit of fuel; the experiment prints what it took.
pub(super) fn module() -> Result<Vec<u8>, Failure> {
    const LENGTH: usize = FIXED_BYTES + 2 * HANDLER_BYTES;
    let domains = Domains::CORE.with(Domain::Peer);
    let handler = |number| HandlerDeclaration { number, prefix: 64, writeback: 34 };
    let manifest: [u8; LENGTH] =
        build("neighbour", domains, 0, &[handler(PACKET), handler(MESSAGE)]);
    let section: String = manifest.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let (packet, rounds) = (PACKET.0, rounds());
    Ok(wat::parse_str(format!(
        r#"(module
            (import "spine:core" "next" (func $next (param i64) (result i64)))
            (memory (export "memory") 1)
            (global (export "__stack_pointer") (mut i32) (i32.const 8192))
            (func (export "run")
                (local $slot i32) (local $verdict i64) (local $left i32)
                (loop $again
                    (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
                    (if (i32.eqz (local.get $slot)) (then (return)))
                    (local.set $verdict (i64.const 0))
                    (if (i32.eq (i32.load16_u (local.get $slot)) (i32.const {packet})) (then
                        (local.set $left (i32.const {rounds}))
                        (loop $count
                            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                            (br_if $count (local.get $left)))
                        (local.set $verdict (i64.const 0x10002))))
                    (br $again)))
            (@custom "spine.manifest" "{section}"))"#
    ))?)
}

/// Rounds of the loop: six units of fuel each, ten microseconds in all.
fn rounds() -> u64 {
    10_000_000 / spine_io::lanai::costs::ROUTER_PICOSECONDS_PER_FUEL / 6
}
