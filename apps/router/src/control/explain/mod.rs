//! What becomes of one packet, and why.
//!
//! The same questions in the same order as the packet would meet them: the classifier's, with what it was told; then the extension's,
//! with the table that the adapters read. So nothing is guessed; where the packet would be the kernel's, the kernel is asked for its
//! route. What it would do by its firewall is known as far as [`crate::policy`] reads it.
//!
//! `tests/netns/show.rs` sends packets of each kind and holds the counters against what was explained.

mod kernel;
mod packet;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use spine_abi::Reason;
use spine_fib::{Action, NextHop, flow_hash};
use spine_rules::{Addresses, Family, Packets, Pieces, Ports, Protocols};
use spine_xdp_progs::Counter;

use super::View;
use super::facts::Facts;
use super::listing::{mac_text, name_of, state_text};
use super::text::meaning;
use crate::netlink::state::IfIndex;
use crate::ownership::few;
use crate::rib::{Target, TargetHop};

pub use packet::{GRAMMAR, NoPacket, Packet};

/// Bytes in front of an IP packet.
const ETHERNET: u32 = spine_headers::in_u16(spine_headers::ethernet::BYTES) as u32;

/// Whose a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The adapters forward it.
    Adapters,
    /// The adapters drop it.
    Nobody,
    /// The kernel has it, as it came.
    Kernel,
    /// The adapters have it first and give it to the kernel.
    KernelAfterAdapters,
}

/// The route that decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteFound {
    /// The longest prefix that the adapters' table has.
    pub prefix: Ipv4Net,
    /// Whom the packet is sent to.
    pub next_hop: Option<IpAddr>,
    /// What the kernel knows of that machine.
    pub neighbour: Option<String>,
    /// How many ways out the route has.
    pub ways: usize,
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The packet.
    pub packet: String,
    /// Whose it is.
    pub owner: Owner,
    /// Under which name it is counted, by the classifier or by the adapters.
    pub reason: String,
    /// The same as a sentence.
    pub why: String,
    /// The rules or settings that decide, if any do.
    pub rules: Vec<String>,
    /// The route, if one decides.
    pub route: Option<RouteFound>,
    /// The interface by which it leaves, if an adapter sends it.
    pub leaves_by: Option<String>,
    /// What the kernel says, where the packet is the kernel's.
    pub kernel: Option<String>,
    /// What would change that.
    pub change: String,
}

/// What was found, before it is said.
struct Found {
    owner: Owner,
    reason: &'static str,
    /// More than the reason says by itself.
    why: Option<String>,
    rules: Vec<String>,
    change: String,
}

impl Found {
    fn new(owner: Owner, reason: &'static str, change: impl Into<String>) -> Self {
        Self { owner, reason, why: None, rules: Vec::new(), change: change.into() }
    }

    /// The kernel's, at the classifier.
    fn kernel(counter: Counter, change: impl Into<String>) -> Self {
        Self::new(Owner::Kernel, counter.name(), change)
    }

    fn by(self, rules: Vec<String>) -> Self {
        Self { rules, ..self }
    }

    fn because(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }
}

/// What becomes of a packet.
pub(super) fn explain(packet: &Packet, view: &mut View<'_>, facts: &dyn Facts) -> Explanation {
    let ingress = view.position(&packet.ingress);
    let mut explanation = Explanation {
        packet: packet.to_string(),
        owner: Owner::Kernel,
        reason: String::new(),
        why: String::new(),
        rules: Vec::new(),
        route: route(packet, view),
        leaves_by: None,
        kernel: None,
        change: String::new(),
    };
    let found = match ingress {
        None => {
            let name = &packet.ingress;
            Found::kernel(Counter::NoSocket, format!("--iface {name} gives it an adapter"))
                .because(format!("{name} is none of the router's interfaces"))
        }
        Some(at) => match classified(packet, at, view, facts) {
            Some(found) => found,
            None => handled(packet, at, view, &mut explanation),
        },
    };
    let Found { owner, reason, why, rules, change } = found;
    explanation.why = why.unwrap_or_else(|| meaning(reason).to_owned());
    (explanation.owner, explanation.reason) = (owner, reason.to_owned());
    (explanation.rules, explanation.change) = (rules, change);
    if matches!(owner, Owner::Kernel | Owner::KernelAfterAdapters) {
        let index = ingress.and_then(|at| view.ours.indices().get(at).copied());
        let index = index.or_else(|| Some(view.state.link_named(&packet.ingress)?.0));
        explanation.kernel = Some(match index {
            Some(index) => kernel::ask(packet, index, view),
            None => format!("there is no interface {} (see `ip link`)", packet.ingress),
        });
    }
    explanation
}

/// What the classifier finds, which has the first word; `None`: it claims the packet.
fn classified(packet: &Packet, at: usize, view: &View<'_>, facts: &dyn Facts) -> Option<Found> {
    let destination = packet.destination;
    if destination.is_multicast() || destination.is_broadcast() {
        return Some(Found::kernel(
            Counter::OtherMac,
            "nothing: a router forwards single packets alone",
        ));
    }
    if !view.enabled.get(at).copied().unwrap_or_default() {
        return Some(switched_off(at, view));
    }
    if packet.options {
        return Some(Found::kernel(Counter::Options, "the same packet without IP options"));
    }
    if packet.ttl <= 1 {
        return Some(Found::kernel(Counter::TtlExceeded, "a ttl of 2 or more"));
    }
    if matches!(packet.protocol, 2 | 46 | 88 | 89 | 103 | 112) {
        return Some(Found::kernel(
            Counter::RoutingProtocol,
            "nothing: routing daemons must see it",
        ));
    }
    if matches!(packet.protocol, 4 | 41 | 47 | 132) && facts.leaves_checksums_undone(at) {
        return Some(Found::kernel(
            Counter::UnfinishedChecksums,
            "an interface of a card's, or AF_PACKET",
        ));
    }
    let never = |address: Ipv4Addr| {
        matches!(address.octets()[0], 0 | 127) || address.is_multicast() || address.is_broadcast()
    };
    if never(packet.source) || never(destination) || destination.is_link_local() {
        return Some(Found::kernel(Counter::SpecialAddress, "other addresses"));
    }
    let is_local = |address| local(view, address);
    if is_local(destination) || is_local(packet.source) {
        return Some(Found::kernel(
            Counter::Local,
            "nothing: it is for this machine, or says that it is from it",
        ));
    }
    if view.reach.destinations
        && view.claims.longest(destination).is_none_or(|(_, from)| from.0 >> (at & 63) & 1 == 0)
    {
        return Some(unclaimed(packet, at, view));
    }
    let one = as_set(packet);
    let kept = view.ownership.parts(at).iter().find(|kept| kept.packets.and(&one).is_some());
    if let Some(kept) = kept {
        let rule = format!("{} ({})", kept.why, kept.packets.describe(Family::V4));
        let found = Found::kernel(Counter::KeptByRules, "without that rule it is the adapters'");
        return Some(found.by(vec![rule]));
    }
    let bytes = u32::from(packet.length) + ETHERNET;
    let longest = facts.longest(at).filter(|longest| bytes > *longest)?;
    let change = format!("an MTU of at most {}", longest.saturating_sub(ETHERNET));
    Some(Found::kernel(Counter::TooLong, change))
}

/// An address of this machine, or a broadcast address of its links, as the classifier was told.
fn local(view: &View<'_>, address: Ipv4Addr) -> bool {
    let entry = view.table.painted().get(&Ipv4Net::from(address));
    entry.is_some_and(|entry| *entry.target() == Target::Kernel(Reason::Local))
}

/// Why nothing of an interface is claimed.
fn switched_off(at: usize, view: &View<'_>) -> Found {
    let name = view.names.get(at).cloned().unwrap_or_default();
    if !view.forwarding.get(at).copied().unwrap_or_default() {
        let setting = format!("net.ipv4.conf.{name}.forwarding is 0");
        let change = format!("sysctl net.ipv4.conf.{name}.forwarding=1");
        return Found::kernel(Counter::SwitchedOff, change).by(vec![setting]);
    }
    let others = (0..view.names.len()).filter(|other| *other != at);
    let mut rules: Vec<String> =
        others.flat_map(|other| view.ownership.why(at, other).map(str::to_owned)).collect();
    rules.sort();
    rules.dedup();
    Found::kernel(Counter::SwitchedOff, "without these it is the adapters'").by(rules)
}

/// Why packets to a destination are not claimed from an interface.
fn unclaimed(packet: &Packet, at: usize, view: &View<'_>) -> Found {
    let not_ours = |why: &str, change: &str| Found::kernel(Counter::NotOurs, change).because(why);
    let painted = view.table.painted().get_lpm(&Ipv4Net::from(packet.destination));
    let Some((prefix, entry)) = painted else {
        return not_ours("there is no route to it: the kernel answers", "a route to it");
    };
    if view.whose().is_starved(Ipv4Net::from(packet.destination)) || !entry.has_room() {
        return not_ours("the adapters' table has no room for its route", "fewer routes");
    }
    match entry.target() {
        Target::Kernel(Reason::NoRoute) => {
            not_ours("its route refuses it: the kernel answers", "a route that does not refuse it")
        }
        Target::Kernel(Reason::NotOurs) => not_ours(
            "its route leads out by another interface than the router's, or is of a kind that adapters do not follow",
            "a route out by one of the router's interfaces (--iface)",
        ),
        Target::Kernel(reason) => not_ours(meaning(reason.name()), "another route"),
        Target::Drop(_) => not_ours("the kernel drops it", "another route"),
        Target::Forward(hops) => unclaimed_way(packet, at, prefix, hops, view),
    }
}

/// Why packets that could be forwarded are not claimed.
fn unclaimed_way(
    packet: &Packet,
    at: usize,
    prefix: Ipv4Net,
    hops: &[(TargetHop, u32)],
    view: &View<'_>,
) -> Found {
    let out = |hop: &TargetHop| view.ours.indices().iter().position(|ours| *ours == hop.interface);
    let egresses = hops.iter().filter_map(|(hop, _)| out(hop));
    let mut rules: Vec<String> =
        egresses.flat_map(|egress| view.ownership.why(at, egress).map(str::to_owned)).collect();
    rules.sort();
    rules.dedup();
    let found = |why: &str, change: String| Found::kernel(Counter::NotOurs, change).because(why);
    if !rules.is_empty() {
        let why = "a rule or setting could treat it in another way than to let it pass";
        return found(why, "without these it is the adapters'".to_owned()).by(rules);
    }
    if hops.iter().any(|(hop, _)| hop.gateway.is_none()) {
        let change = format!(
            "once the kernel has resolved {} (its first packet has it do so) it is the adapters'",
            packet.destination
        );
        return found("it is on the link, and not resolved", change);
    }
    let ingress = view.ours.indices().get(at).copied();
    if hops.iter().any(|(hop, _)| Some(hop.interface) == ingress) {
        let why = "its way out is its way in: the kernel may tell its sender of a shorter one";
        return found(why, format!("a route {prefix} that leads out elsewhere"));
    }
    let unresolved: Vec<String> =
        hops.iter().filter_map(|(hop, _)| hop.gateway).map(|gateway| gateway.to_string()).collect();
    found(
        "the next machine, or one of several, is not resolved, or its link is down",
        format!("once the kernel has resolved {}", few(unresolved, ", ")),
    )
}

/// A packet as a set of one.
fn as_set(packet: &Packet) -> Packets {
    let one = |address: Ipv4Addr| Addresses::prefix(Family::V4, address.to_bits().into(), 32);
    let (source_ports, destination_ports) = match packet.has_ports() || packet.has_type() {
        true => (Ports::one(packet.source_port), Ports::one(packet.destination_port)),
        // Without ports it is in a set whatever ports that has.
        false => (Ports::ALL, Ports::ALL),
    };
    Packets {
        protocols: Protocols::one(packet.protocol),
        source: one(packet.source),
        destination: one(packet.destination),
        source_ports,
        destination_ports,
        pieces: if packet.fragment { Pieces::PIECES } else { Pieces::WHOLE },
    }
}

/// The next hop of a packet, as the adapters find it.
fn next_hop(packet: &Packet, view: &View<'_>) -> NextHop {
    // As they stand in the packet; none where there are none.
    let [from, to] = [packet.source_port, packet.destination_port].map(u16::to_be_bytes);
    let ports = match packet.has_ports() {
        true => u32::from_le_bytes([from[0], from[1], to[0], to[1]]),
        false => 0,
    };
    let (source, destination) = (packet.source.to_bits(), packet.destination.to_bits());
    (view.look_up)(packet.destination, flow_hash(source, destination, packet.protocol, ports))
}

/// Whether the adapter believes the packet's source, which it asks only where the kernel would.
fn believed(packet: &Packet, at: usize, view: &View<'_>) -> bool {
    view.ours.numbers().get(at).is_none_or(|number| (view.believes)(packet.source, *number))
}

/// What the extension does with a packet that was claimed.
fn handled(packet: &Packet, at: usize, view: &View<'_>, into: &mut Explanation) -> Found {
    let hop = next_hop(packet, view);
    let after = |reason: Reason, change: &str| {
        Found::new(Owner::KernelAfterAdapters, reason.name(), change)
    };
    let peer = view.ours.numbers().iter().position(|number| *number == hop.peer);
    match hop.action {
        Action::Drop(reason) => Found::new(Owner::Nobody, reason.name(), "another route"),
        Action::Kernel(Reason::Unresolved) => after(
            Reason::Unresolved,
            "once the kernel has resolved the next machine, it is the adapters'",
        ),
        Action::Kernel(reason) => after(reason, "another route"),
        Action::Forward if !believed(packet, at, view) => after(
            Reason::ReversePath,
            "a route back to its source by the same interface, or no rp_filter",
        ),
        Action::Forward if packet.length > hop.mtu => {
            after(Reason::TooBig, &format!("a packet of at most {} bytes", hop.mtu))
        }
        Action::Forward if peer == Some(at) => {
            after(Reason::Hairpin, "a route that does not lead out where the packet came in")
        }
        Action::Forward => {
            into.leaves_by = peer.and_then(|peer| view.names.get(peer).cloned());
            let neighbour = mac_text(hop.addresses.destination());
            if let Some(route) = &mut into.route {
                name_next_hop(route, &neighbour, peer, packet, view);
            }
            let change = "a longer route, a rule that could touch it, or a next machine that is resolved no more";
            Found::new(Owner::Adapters, Counter::Claimed.name(), change).because(
                "its route leads out by an interface of the router's, and no rule touches it",
            )
        }
    }
}

/// The route that decides, as far as it is known before the adapters' table is asked.
fn route(packet: &Packet, view: &View<'_>) -> Option<RouteFound> {
    let (prefix, entry) = view.table.painted().get_lpm(&Ipv4Net::from(packet.destination))?;
    let Target::Forward(hops) = entry.target() else {
        return Some(RouteFound { prefix, next_hop: None, neighbour: None, ways: 0 });
    };
    let mut found = RouteFound { prefix, next_hop: None, neighbour: None, ways: hops.len() };
    if let [(only, _)] = hops.as_slice() {
        let address = only.gateway.unwrap_or_else(|| packet.destination.into());
        found.next_hop = Some(address);
        found.neighbour = Some(neighbour(view, only.interface, address));
    }
    Some(found)
}

/// Of several ways the one that is taken: by its interface and link-layer address.
fn name_next_hop(
    route: &mut RouteFound,
    mac: &str,
    peer: Option<usize>,
    packet: &Packet,
    view: &View<'_>,
) {
    let out = peer.and_then(|peer| view.ours.indices().get(peer).copied());
    let entry = view.table.painted().get(&route.prefix);
    let Some(Target::Forward(hops)) = entry.map(|entry| entry.target()) else { return };
    let taken = hops.iter().find_map(|(hop, _)| {
        let address = hop.gateway.unwrap_or_else(|| packet.destination.into());
        let known = view.state.neighbours.get(&(address, hop.interface))?.mac.map(mac_text);
        (Some(hop.interface) == out && known.as_deref() == Some(mac)).then_some((hop, address))
    });
    if let Some((hop, address)) = taken {
        route.next_hop = Some(address);
        route.neighbour = Some(neighbour(view, hop.interface, address));
    }
}

/// What the kernel knows of a machine.
fn neighbour(view: &View<'_>, interface: IfIndex, address: IpAddr) -> String {
    let on = name_of(view, interface);
    match view.state.neighbours.get(&(address, interface)) {
        None => format!("on {on}, unknown"),
        Some(known) => {
            let mac = known.mac.map_or_else(|| "no address".to_owned(), mac_text);
            format!("on {on}, {mac}, {}", state_text(known))
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.packet)?;
        let whose = match self.owner {
            Owner::Adapters => "the adapters': forwarded",
            Owner::Nobody => "the adapters': dropped",
            Owner::Kernel => "the kernel's, as it came",
            Owner::KernelAfterAdapters => "the kernel's, given to it by an adapter",
        };
        writeln!(f, "  whose    {whose}")?;
        writeln!(f, "  why      {} ({})", self.why, self.reason)?;
        if !self.rules.is_empty() {
            writeln!(f, "  by       {}", few(self.rules.clone(), "; "))?;
        }
        if let Some(RouteFound { prefix, next_hop, neighbour, ways }) = &self.route {
            let mut text = prefix.to_string();
            if let Some(next_hop) = next_hop {
                text.push_str(&format!(" to {next_hop}"));
            }
            if let Some(neighbour) = neighbour {
                text.push_str(&format!(" ({neighbour})"));
            }
            if *ways > 1 {
                text.push_str(&format!(", one of {ways} ways"));
            }
            writeln!(f, "  route    {text}")?;
        }
        if let Some(out) = &self.leaves_by {
            writeln!(f, "  leaves   by {out}")?;
        }
        if let Some(kernel) = &self.kernel {
            writeln!(f, "  kernel   {kernel}")?;
        }
        writeln!(f, "  change   {}", self.change)
    }
}

#[cfg(test)]
mod tests;
