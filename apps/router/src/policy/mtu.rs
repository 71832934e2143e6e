//! Path MTUs that count for forwarded packets.
//!
//! The adapters go by the MTU of the route and of the interface. With `ip_forward_use_pmtu` the kernel goes by what it
//! has learned of a path as well, for as long as that holds; it announces neither what it learns nor what it forgets, so
//! all packets are left to it. (A route whose MTU is locked learns nothing.)

use spine_rules::{Family, Kept, Packets};

use crate::netlink::KernelState;
use crate::netlink::state::IfIndex;

pub(super) fn kept(state: &KernelState) -> Option<(Option<IfIndex>, Kept)> {
    let why =
        "net.ipv4.ip_forward_use_pmtu is 1: only the kernel knows the MTUs of paths".to_owned();
    let packets = Packets::all(Family::V4);
    state.sysctls.forward_uses_path_mtu.then_some((None, Kept { packets, why }))
}
