//! What the kernel has on its forwarding path that the adapters cannot honour.
//!
//! A packet the adapters forward never meets the kernel's firewall, filters, policy rules, IPsec
//! policies or reverse-path filter. So where there are any, forwarding is the kernel's: at the start
//! the router refuses, and when they appear later it hands everything over until they are gone.
//! Looking again is cheap and complete, so any notification leads to a full check; where something
//! cannot be read, that is an obstacle, too.
//!
//! Whether an interface forwards at all (`net.ipv4.conf.<interface>.forwarding`) is no obstacle but
//! honoured for each interface ([`forwards`]).
//!
//! Not seen: BPF programs attached by tcx links, which tc's netlink does not list, or as netfilter
//! hooks; IPVS, and any other module with a netfilter hook of its own; the XFRM default policy; VLAN
//! devices on the other end of a veth, or on an interface of ours but in another network namespace. A
//! card that strips VLAN tags hides them from XDP, and tagged packets would be forwarded as untagged
//! ones: `ethtool -K <interface> rxvlan off`.

mod iptables;
mod links;
mod nftables;
mod reverse_path;
mod rules;
mod tc;
mod watch;
mod xfrm;

use std::fmt;

pub use watch::Watch;

use crate::interfaces::Interfaces;
use crate::netlink::KernelState;
use crate::netlink::state::IfIndex;
use spine_nic::netlink::socket::{NetlinkError, NetlinkSocket};
use spine_rules::{Family, Kept, Packets};

/// Something that forwarding past the kernel would ignore; its text says what and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Obstacle(pub String);

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Packets that something in the kernel could treat otherwise than to let them pass.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// The position of the interface of ours they come in on; `None`: any.
    pub ingress: Option<usize>,
    /// The position of the one they leave by; `None`: any.
    pub egress: Option<usize>,
    /// Which, and what keeps them.
    pub kept: Kept,
}

impl From<Obstacle> for Found {
    fn from(Obstacle(why): Obstacle) -> Self {
        Self { ingress: None, egress: None, kept: Kept { packets: Packets::all(Family::V4), why } }
    }
}

/// All that keeps packets now. `requests` is a NETLINK_ROUTE socket.
pub fn find(requests: &mut NetlinkSocket, state: &KernelState, ours: &Interfaces) -> Vec<Found> {
    check(requests, state, ours).into_iter().map(Found::from).collect()
}

/// An interface of ours, by number and name.
pub(crate) type Named<'a> = (IfIndex, &'a str);

/// All obstacles there are now, in a stable order. `requests` is a NETLINK_ROUTE socket.
pub fn check(
    requests: &mut NetlinkSocket,
    state: &KernelState,
    ours: &Interfaces,
) -> Vec<Obstacle> {
    let names: Vec<Named<'_>> = ours
        .indices()
        .iter()
        .filter_map(|index| Some((*index, state.links.get(index)?.name.as_str())))
        .collect();
    let mut found = Vec::new();
    collect(&mut found, "nftables", nftables::obstacles(&names));
    found.extend(iptables::obstacles());
    collect(&mut found, "tc", tc::obstacles(requests, &names));
    collect(&mut found, "policy rules", rules::obstacles(requests));
    collect(&mut found, "IPsec policies", xfrm::obstacles());
    found.extend(links::obstacles(state, &names));
    found.extend(reverse_path::obstacles(state, &names));
    found.sort();
    found.dedup();
    found
}

/// Whether packets received on an interface may be forwarded.
pub fn forwards(state: &KernelState, interface: IfIndex) -> bool {
    state.conf_of(interface).forwarding
}

fn collect(into: &mut Vec<Obstacle>, what: &str, found: Result<Vec<Obstacle>, NetlinkError>) {
    match found {
        Ok(found) => into.extend(found),
        // The kernel does not have such a thing at all.
        Err(error) if error.is_unsupported() => tracing::debug!(what, %error, "not in this kernel"),
        Err(error) => into.push(Obstacle(format!("{what} cannot be read: {error}"))),
    }
}
