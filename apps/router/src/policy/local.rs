//! Networks whose addresses are all this machine's.
//!
//! A packet that says it comes from an address of this machine is not believed. The classifier knows those one by one,
//! not a whole network of them (a route of kind `local` for a prefix, as anycast and transparent proxies have them).
//! So is it with routes of a kind that is not understood.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use spine_rules::{Family, Kept, Packets};

use crate::netlink::KernelState;
use crate::netlink::state::IfIndex;
use crate::routing::addresses;

pub(super) fn kept(state: &KernelState) -> impl Iterator<Item = (Option<IfIndex>, Kept)> {
    let loopback = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    let networks = state.special().iter().filter(move |prefix| !loopback.contains(*prefix));
    networks.map(|prefix| {
        let packets = Packets { source: addresses(*prefix), ..Packets::all(Family::V4) };
        let why = format!(
            "all of {prefix} are addresses of this machine (see `ip route show table all`)"
        );
        (None, Kept { packets, why })
    })
}
