//! What in the kernel could treat packets otherwise than to let them pass unchanged, and which packets.
//!
//! A packet that the adapters forward never meets the kernel's firewall, filters, policy rules, IPsec
//! policies or reverse-path filter. So what these may treat in any other way is left to the kernel: sets of packets, each with
//! the rule that keeps it ([`spine_rules`]), or everything, where it is not read any further or cannot be.
//!
//! Whether an interface forwards at all (`net.ipv4.conf.<interface>.forwarding`) is honoured for each interface ([`forwards`]).
//!
//! Not seen: BPF programs attached by tcx links, which tc's netlink does not list, or as netfilter
//! hooks; IPVS, and any other module with a netfilter hook of its own; the XFRM default policy; VLAN
//! devices on the other end of a veth, or on an interface of ours but in another network namespace. A
//! card that strips VLAN tags hides them from XDP, and tagged packets would be forwarded as untagged
//! ones: `ethtool -K <interface> rxvlan off`.

mod iptables;
mod links;
mod reverse_path;
mod rules;
mod tc;
mod watch;
mod xfrm;

use std::collections::BTreeSet;
use std::fmt;

pub use watch::Watch;

use crate::interfaces::Interfaces;
use crate::netlink::state::IfIndex;
use crate::netlink::{self, KernelState};
use spine_nic::netlink::socket::{NetlinkError, NetlinkSocket};
use spine_rules::{Family, Kept, Link, Packets, Rules};

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

/// All that keeps packets.
#[derive(Debug, Default)]
pub struct Policy {
    /// Which packets are kept, and by what.
    pub found: Vec<Found>,
    /// What carrying packets past the kernel costs people, in sentences.
    pub notes: BTreeSet<String>,
}

impl Policy {
    /// As it is now. `requests` is a NETLINK_ROUTE socket.
    pub fn read(requests: &mut NetlinkSocket, state: &KernelState, ours: &Interfaces) -> Self {
        let found = obstacles(requests, state, ours).into_iter().map(Found::from).collect();
        let mut policy = Self { found, notes: BTreeSet::new() };
        by_rules(state, ours, &mut policy);
        policy
    }
}

/// An interface of ours, by number and name.
pub(crate) type Named<'a> = (IfIndex, &'a str);

/// Obstacles that are not read any further: each keeps everything. `requests` is a NETLINK_ROUTE socket.
fn obstacles(
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
    found.extend(iptables::obstacles());
    collect(&mut found, "tc", tc::obstacles(requests, &names));
    collect(&mut found, "policy rules", rules::obstacles(requests));
    collect(&mut found, "IPsec policies", xfrm::obstacles());
    found.extend(links::obstacles(state, &names));
    found.extend(reverse_path::obstacles(state, &names));
    found
}

/// What the kernel's rules keep on each way between two interfaces of ours.
fn by_rules(state: &KernelState, ours: &Interfaces, policy: &mut Policy) {
    let rules = match Rules::read() {
        Ok(rules) => rules,
        Err(error) => return policy.found.push(Obstacle(error.to_string()).into()),
    };
    // One that is gone receives nothing.
    let links: Vec<(usize, Link)> = ours
        .indices()
        .iter()
        .enumerate()
        .filter_map(|(at, index)| Some((at, link(state, *index, state.links.get(index)?))))
        .collect();
    for (ingress, into) in &links {
        for (egress, out) in links.iter().filter(|(egress, _)| egress != ingress) {
            let kept = rules.forwarded(Family::V4, into, out);
            policy.notes.extend(rules.notes(Family::V4, into, out));
            let way = |kept| Found { ingress: Some(*ingress), egress: Some(*egress), kept };
            policy.found.extend(kept.into_iter().map(way));
        }
    }
}

/// An interface as rules ask for it.
fn link(state: &KernelState, index: IfIndex, link: &netlink::state::Link) -> Link {
    let master = link.master.and_then(|master| state.links.get(&master));
    Link {
        group: link.group,
        kind: link.kind.clone().unwrap_or_default(),
        master: master.map(|master| master.name.clone()),
        ..Link::ethernet(index, &link.name)
    }
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
