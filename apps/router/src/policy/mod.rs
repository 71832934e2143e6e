//! What in the kernel could treat packets otherwise than to let them pass unchanged, and which packets.
//!
//! A packet that the adapters forward never meets the kernel's firewall, filters or IPsec policies. So what these
//! may treat in any other way is left to the kernel: sets of packets, each with the rule that keeps it ([`spine_rules`]).
//! Policy rules and the reverse-path filter are in the adapters' table ([`crate::rib`]); what of them is not, is kept, too.
//!
//! Whether an interface forwards at all (`net.ipv4.conf.<interface>.forwarding`) is honoured for each interface ([`forwards`]).
//!
//! Not seen: IPVS, and any other module with a netfilter hook of its own; VLAN
//! devices on the other end of a veth, or on an interface of ours but in another network namespace. A
//! card that strips VLAN tags hides them from XDP, and tagged packets would be forwarded as untagged
//! ones: `ethtool -K <interface> rxvlan off`.

mod entrance;
mod links;
mod local;
mod mtu;
mod rules;
mod watch;

use std::collections::BTreeSet;

pub use watch::Watch;

use spine_rules::Kept;

use crate::interfaces::Interfaces;
use crate::netlink::KernelState;
use crate::netlink::state::IfIndex;

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

/// All that keeps packets.
#[derive(Debug, Default)]
pub struct Policy {
    /// Which packets are kept, and by what.
    pub found: Vec<Found>,
    /// What carrying packets past the kernel costs people, in sentences.
    pub notes: BTreeSet<String>,
}

impl Policy {
    /// As it is now, by the rules as they were last read. `elsewhere`: what adapters hand back comes into the kernel by another
    /// interface than the one it came in on, as on AF_PACKET.
    pub fn of(watch: &mut Watch, state: &KernelState, ours: &Interfaces, elsewhere: bool) -> Self {
        let mut policy = Self::default();
        watch.add_to(&mut policy, state, ours);
        if elsewhere {
            let entrance = entrance::kept(state).into_iter().chain(watch.kept_of_entrance(state));
            let all = |kept| Found { ingress: None, egress: None, kept };
            policy.found.extend(entrance.map(all));
        }
        for (ingress, kept) in kept(state, ours) {
            let position = |index| ours.indices().iter().position(|ours| *ours == index);
            let ingress = ingress.and_then(position);
            policy.found.push(Found { ingress, egress: None, kept });
        }
        policy
    }
}

/// The packets that stay the kernel's for what its routes, policy rules and links say, by the interface on which they are
/// received if it is not any of ours, and why. Not those whose destination is not ours for want of a way.
fn kept(state: &KernelState, ours: &Interfaces) -> Vec<(Option<IfIndex>, Kept)> {
    let name = |index: &IfIndex| Some((*index, state.links.get(index)?.name.as_str()));
    let names: Vec<Named<'_>> = ours.indices().iter().filter_map(name).collect();
    let mut found = rules::kept(state, ours);
    found.extend(local::kept(state, ours));
    found.extend(mtu::kept(state));
    found.extend(links::kept(state, &names));
    found
}

/// An interface of ours, by number and name.
type Named<'a> = (IfIndex, &'a str);

/// Whether packets received on an interface may be forwarded.
pub fn forwards(state: &KernelState, interface: IfIndex) -> bool {
    state.conf_of(interface).forwarding
}
