//! Policies: which of the ready events runs next (SPINE 6).
//!
//! The paper's card served the network strictly before the bus. So bus events ran only when nothing of
//! the network was ready, which is when there is nothing to do beside a transfer: the processor polled,
//! receiving took every free buffer, and the bus drained alone. The authors saw the oscillation and
//! were looking for another rule; these are the ones compared here.

use spine_abi::event::{CLASSES, Order, Policy};

/// For a processor that is fast beside its wire: what moves messages out runs before what moves them
/// on, and that before what brings more in, so that an adapter under load finishes what it has begun.
pub const FINISH_FIRST: Policy = ranks("finish first", [0, 1, 2, 3]);

/// The paper's: the network strictly before the bus.
pub const PAPER: Policy = ranks("paper", [2, 1, 0, 0]);

/// In order of readiness, whatever it is.
pub const READINESS: Policy = ranks("readiness", [0, 0, 0, 0]);

/// The bus before the network.
pub const PCI_FIRST: Policy = ranks("pci first", [2, 0, 1, 1]);

/// The oldest message first, whoever sent it.
pub const AGE: Policy = Policy { name: "age", order: Order::Age, ..READINESS };

/// Ours: of the packets the oldest first; what the host asks for in between, when no packet is ready or
/// when it has waited for a millisecond.
///
/// A packet on the bus is older than any that is being received, so its next transfer is started as
/// soon as the last one is noticed, and the time of each transfer goes to the one packet behind it:
/// never more than two are under way, however many buffers there are, and each takes the time of
/// the best case. The host's messages fill what would be idle polls, so they cost the packets nothing
/// but one event in a millisecond.
pub const OLDEST_FIRST: Policy =
    Policy { name: "oldest first", rank: [1, 0, 0, 0], order: Order::Age, patience: 1_000_000 };

/// All that are compared on the model of the paper's card.
pub const COMPARED: [Policy; 5] = [PAPER, READINESS, PCI_FIRST, AGE, OLDEST_FIRST];

/// Ranks for the classes control, out, on and in; in order of readiness within one.
const fn ranks(name: &'static str, rank: [u8; CLASSES]) -> Policy {
    Policy { name, rank, order: Order::Readiness, patience: u64::MAX }
}
