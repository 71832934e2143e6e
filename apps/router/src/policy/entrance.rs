//! What adapters on AF_PACKET hand back.
//!
//! It comes into the kernel by an interface of its own, which has no address. Where a check depends on the interface that a
//! packet came in on, the kernel would find otherwise than it does for the packet itself; then nothing is taken.

use spine_rules::{Family, Kept, Packets};

use crate::netlink::KernelState;
use crate::netlink::state::CONF_ALL;

/// Why nothing that comes in can be taken.
pub(super) fn kept(state: &KernelState) -> Option<Kept> {
    let all = state.conf.get(&CONF_ALL).copied().unwrap_or_default();
    (all.rp_filter > 0).then(|| keep("net.ipv4.conf.all.rp_filter is on"))
}

/// The same for this reason.
pub(super) fn keep(why: &str) -> Kept {
    let why = format!("{why}, which does not let through what AF_PACKET hands back");
    Kept { packets: Packets::all(Family::V4), why }
}
