//! Networks whose addresses are all this machine's.
//!
//! A packet that says it comes from an address of this machine is not believed. The classifier knows those one by one,
//! not a whole network of them (a route of kind `local` for a prefix, as anycast and transparent proxies have them).
//! So is it with routes of a kind that is not understood.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use spine_rules::{Family, Kept, Packets};

use crate::interfaces::Interfaces;
use crate::netlink::KernelState;
use crate::netlink::state::{IfIndex, is_special};
use crate::routing::{Chain, addresses};

pub(super) fn kept(state: &KernelState, ours: &Interfaces) -> Vec<(Option<IfIndex>, Kept)> {
    let loopback = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    let chain = Chain::of(state, ours);
    // What rules for some packets lead to is the rules' matter.
    let asked = |prefix: &&Ipv4Net| {
        let mut routes = state.routes.get(prefix).into_iter().flatten();
        routes.any(|route| is_special(**prefix, route) && chain.asks(route.table))
    };
    let networks = state.special().iter().filter(|prefix| !loopback.contains(*prefix));
    let keep = |prefix: &Ipv4Net| {
        let packets = Packets { source: addresses(*prefix), ..Packets::all(Family::V4) };
        let why = format!(
            "all of {prefix} are addresses of this machine (see `ip route show table all`)"
        );
        (None, Kept { packets, why })
    };
    networks.filter(asked).map(keep).collect()
}
