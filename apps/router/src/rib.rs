//! What a prefix means for the adapters: the best of its routes, resolved to a [`Target`].
//!
//! Follows the kernel's lookup: one table after the other as the rules say (`routing`), until one has a
//! match that counts. So the many tables become one. Local and main are one trie to the
//! kernel until the first rule of someone's own is added, and two from then on, even when that rule
//! is gone again; where the two readings may differ (a route of main below a wide local one), the packet
//! is the kernel's.
//!
//! Whatever the extension cannot do as the kernel would (a route for one TOS only, an
//! encapsulation, a resilient group) is the kernel's as well.
//!
//! The same look-up says which senders the kernel believes ([`Meaning::sources`]).
//!
//! Liveness of links and neighbours is not looked at here but in [`crate::table`], so that their
//! coming and going touches next hops, not prefixes. The exceptions are `ignore_routes_with_linkdown`,
//! which chooses between routes, and hops that the kernel itself says are dead.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::Ipv4Net;
use spine_abi::Reason;

use crate::interfaces::Interfaces;
use crate::netlink::KernelState;
use crate::netlink::state::{
    Hop, IfIndex, Neighbour, NextHopObject, Route, RouteKind, TABLE_LOCAL, TABLE_MAIN, Via,
};
use crate::routing::{Chain, SourceCheck, StepAction};

/// Groups of groups the kernel does not have; a chain this long is a lie.
const NESTING: usize = 4;

/// One way out of a target.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetHop {
    /// The interface.
    pub interface: IfIndex,
    /// Whose Ethernet address the frame gets; `None`: the destination's own, which this prefix is
    /// too wide to know.
    pub gateway: Option<IpAddr>,
    /// The route's own limit on packet size, in bytes of the IP packet.
    pub mtu: Option<u32>,
}

/// What happens to a packet whose longest match a prefix is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// Forwarded by one of these, with their weights; all are on interfaces of ours.
    /// Sorted, no hop twice.
    Forward(Vec<(TargetHop, u32)>),
    /// Left to the kernel.
    Kernel(Reason),
    /// Dropped.
    Drop(Reason),
}

impl Target {
    /// Whether the adapters should get the packets at all.
    ///
    /// Not where they would give them, or some of them, to the kernel, which costs much more than
    /// leaving them to it: a connected prefix is the kernel's, which resolves its machines, and each
    /// machine that is resolved is ours.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Forward(hops) => hops.iter().all(|(hop, _)| hop.gateway.is_some()),
            Self::Kernel(_) => false,
            Self::Drop(_) => true,
        }
    }

    /// The same for packets received on one interface: not those that would leave there again, or some of them,
    /// about which the kernel may have something to say to their sender.
    pub fn ours_from(&self, ingress: IfIndex) -> bool {
        let back = matches!(self, Self::Forward(hops)
            if hops.iter().any(|(hop, _)| hop.interface == ingress));
        self.is_ours() && !back
    }
}

/// What a prefix means.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Meaning {
    /// What happens to packets to it.
    pub target: Target,
    /// From which adapters the kernel would believe packets *from* it, a bit for each adapter that has to ask.
    pub sources: u64,
    /// Of several ways out those whose neighbour does not answer are passed over while there is another.
    pub minds_neighbours: bool,
}

impl Meaning {
    /// Of what nobody need be believed from, nor have its neighbours minded.
    fn of(target: Target) -> Self {
        Self { target, sources: 0, minds_neighbours: false }
    }
}

/// By what rules the kernel looks things up for packets of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    chain: Chain,
    /// By adapter.
    checks: Vec<(u16, IfIndex, SourceCheck)>,
    minds_neighbours: bool,
}

impl Rules {
    /// Those of now.
    pub fn of(rib: Rib<'_>) -> Self {
        let adapters = rib.ours.numbers().iter().zip(rib.ours.indices());
        let check = |(number, interface): (&u16, &IfIndex)| {
            (*number, *interface, SourceCheck::of(rib.state, *interface))
        };
        Self {
            chain: Chain::of(rib.state, rib.ours),
            checks: adapters.map(check).collect(),
            minds_neighbours: rib.state.sysctls.multipath_minds_neighbours,
        }
    }

    /// Prefixes that mean something of their own although they may have no route.
    pub fn edges(&self) -> impl Iterator<Item = Ipv4Net> {
        self.chain.edges()
    }

    /// The adapters that have to look up where a packet comes from, as a bit for each.
    pub fn checking(&self) -> u64 {
        let asks = |(_, _, check): &&(u16, IfIndex, SourceCheck)| *check != SourceCheck::Off;
        self.checks.iter().filter(asks).map(|(number, ..)| bit(*number)).sum()
    }
}

/// An adapter's bit.
fn bit(adapter: u16) -> u64 {
    1_u64.checked_shl(adapter.into()).unwrap_or(0)
}

/// Where a look-up ends.
enum Found<'a> {
    /// At this route of this prefix.
    Route(Ipv4Net, &'a Route),
    /// At a rule.
    Rule(RouteKind),
    /// Nobody but the kernel knows.
    Unclear,
}

/// The kernel's state as seen from our interfaces.
#[derive(Clone, Copy)]
pub struct Rib<'a> {
    /// The state.
    pub state: &'a KernelState,
    /// Our interfaces.
    pub ours: &'a Interfaces,
}

impl Rib<'_> {
    /// What a prefix means, by its own routes, by a rule whose edge it is or, for a single address, by its
    /// neighbour entry; `None` where the next shorter prefix decides.
    pub fn meaning(&self, rules: &Rules, prefix: Ipv4Net) -> Option<Meaning> {
        let covers: Vec<(Ipv4Net, &Vec<Route>)> = self.state.routes.cover(&prefix).collect();
        let mut decides = rules.edges().any(|edge| edge == prefix);
        let found = self.look_up(rules, prefix, &covers, &mut decides);
        if rules.chain.may_be_merged()
            && let Some(at) = self.below_wide_local(&covers)
        {
            let kernel = Meaning::of(Target::Kernel(Reason::Local));
            return (decides || at == prefix).then_some(kernel);
        }
        if let Some(Found::Route(at, route)) = found
            && at != prefix
            && let Some(hop) = self.neighbour(prefix, route)
        {
            let target = Target::Forward(vec![(hop, 1)]);
            return Some(Meaning { sources: self.sources(rules, route), ..Meaning::of(target) });
        }
        if !decides {
            return None;
        }
        let Some(Found::Route(at, route)) = found else {
            let target = match found {
                Some(Found::Rule(kind)) => ends(kind),
                Some(_) => Target::Kernel(Reason::NotOurs),
                None => Target::Kernel(Reason::NoRoute),
            };
            return Some(Meaning::of(target));
        };
        let target = self.resolve(at, route);
        let sources = self.sources(rules, route);
        let minds_neighbours = self.minds_neighbours(rules, route, &target);
        Some(Meaning { target, sources, minds_neighbours })
    }

    /// Whether the kernel minds neighbours where it chooses between the ways of a route: between those of an object it
    /// always does.
    fn minds_neighbours(&self, rules: &Rules, route: &Route, target: &Target) -> bool {
        let several = matches!(target, Target::Forward(hops) if hops.len() > 1);
        several && (rules.minds_neighbours || matches!(route.via, Via::Object(_)))
    }

    /// What the kernel finds for a prefix of which `covers` are those around it and itself, shortest first. Sets
    /// `own` where a route of the prefix itself has a say.
    fn look_up<'s>(
        &self,
        rules: &Rules,
        prefix: Ipv4Net,
        covers: &[(Ipv4Net, &'s Vec<Route>)],
        own: &mut bool,
    ) -> Option<Found<'s>> {
        rules.chain.walk(prefix, |action| {
            let (table, longer_than, unclear) = match action {
                StepAction::Table { table, longer_than, unclear } => (table, longer_than, unclear),
                StepAction::End(kind) => return Some(Found::Rule(kind)),
                StepAction::Goto(_) | StepAction::Unclear => return Some(Found::Unclear),
            };
            let (at, route) = self.longest(covers, table)?;
            *own |= at == prefix;
            // Routes for one TOS stand before those for any: the kernel has to choose.
            if route.tos != 0 || route.kind == RouteKind::Other {
                return Some(Found::Unclear);
            }
            let leads = match route.kind {
                RouteKind::Throw => return None,
                RouteKind::Unicast => !self.is_blackhole(route),
                RouteKind::Local | RouteKind::Broadcast => true,
                _ => false,
            };
            let short = longer_than.is_some_and(|length| u32::from(at.prefix_len()) <= length);
            match (leads && short, leads && unclear) {
                (true, _) => None,
                (false, true) => Some(Found::Unclear),
                (false, false) => Some(Found::Route(at, route)),
            }
        })
    }

    /// The first route of a table that counts, at the longest prefix that has one.
    fn longest<'s>(
        &self,
        covers: &[(Ipv4Net, &'s Vec<Route>)],
        table: u32,
    ) -> Option<(Ipv4Net, &'s Route)> {
        covers.iter().rev().find_map(|(at, routes)| {
            let counts = |route: &&Route| route.table == table && !self.passed_over(route);
            Some((*at, routes.iter().find(counts)?))
        })
    }

    /// The prefix that main has for an address, if it is longer than one that the local table has for it.
    fn below_wide_local(&self, covers: &[(Ipv4Net, &Vec<Route>)]) -> Option<Ipv4Net> {
        let (at, _) = self.longest(covers, TABLE_MAIN)?;
        let local = |routes: &Vec<Route>| routes.iter().any(|route| route.table == TABLE_LOCAL);
        let wider = covers.iter().take_while(|(cover, _)| cover.prefix_len() < at.prefix_len());
        wider.into_iter().any(|(_, routes)| local(routes)).then_some(at)
    }

    fn is_blackhole(&self, route: &Route) -> bool {
        matches!(route.via, Via::Object(id)
            if self.state.nexthops.get(&id) == Some(&NextHopObject::Blackhole))
    }

    /// From which adapters the kernel believes packets whose source it finds at this route: those whose check is
    /// strict if some hop of it, alive or dead, leaves there; those whose check is loose in any case.
    fn sources(&self, rules: &Rules, route: &Route) -> u64 {
        if rules.checking() == 0 || route.kind != RouteKind::Unicast || self.is_blackhole(route) {
            return 0;
        }
        let mut hops = Vec::new();
        self.collect_hops(&route.via, 1, NESTING, &mut hops);
        let believes = |(_, interface, check): &&(u16, IfIndex, SourceCheck)| match check {
            SourceCheck::Off => false,
            SourceCheck::Strict => hops.iter().any(|hop| hop.interface == *interface),
            SourceCheck::Loose => true,
        };
        rules.checks.iter().filter(believes).map(|(number, ..)| bit(*number)).sum()
    }

    /// Routes whose every hop is dead, or has lost its carrier on an interface that is set to mind.
    fn passed_over(&self, route: &Route) -> bool {
        let mut hops = Vec::new();
        self.collect_hops(&route.via, 1, NESTING, &mut hops);
        !hops.is_empty() && hops.iter().all(|hop| hop.dead || self.ignored(hop.interface))
    }

    /// Whether hops over this interface do not count at the moment.
    pub fn ignored(&self, interface: IfIndex) -> bool {
        self.state.conf_of(interface).ignore_linkdown
            && self.state.links.get(&interface).is_some_and(|link| !link.carrier)
    }

    fn resolve(&self, prefix: Ipv4Net, route: &Route) -> Target {
        match route.kind {
            RouteKind::Unicast if self.is_blackhole(route) => Target::Drop(Reason::Blackhole),
            RouteKind::Unicast => self.forward(prefix, route),
            kind => ends(kind),
        }
    }

    fn forward(&self, prefix: Ipv4Net, route: &Route) -> Target {
        let mut hops = Vec::new();
        self.collect_hops(&route.via, 1, NESTING, &mut hops);
        hops.retain(|hop| !hop.dead);
        let ours = |hop: &Hop| self.ours.contains(hop.interface) && !hop.foreign;
        if hops.is_empty() || !hops.iter().all(ours) {
            return Target::Kernel(Reason::NotOurs);
        }
        let mut weighted: Vec<(TargetHop, u32)> = Vec::with_capacity(hops.len());
        for hop in hops {
            let own_address = (prefix.prefix_len() == 32).then(|| prefix.addr().into());
            let hop_key = TargetHop {
                interface: hop.interface,
                gateway: hop.gateway.or(own_address),
                mtu: route.mtu,
            };
            weighted.push((hop_key, hop.weight));
        }
        weighted.sort_unstable();
        weighted.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                earlier.1 = earlier.1.saturating_add(later.1);
            }
            same
        });
        Target::Forward(weighted)
    }

    fn collect_hops(&self, via: &Via, weight: u32, nesting: usize, into: &mut Vec<Hop>) {
        match via {
            Via::Hops(hops) => into.extend(hops.iter().cloned()),
            Via::Object(id) => match self.state.nexthops.get(id) {
                Some(NextHopObject::Single(hop)) => into.push(Hop { weight, ..hop.clone() }),
                Some(NextHopObject::Group(members)) if nesting > 0 => {
                    for (member, weight) in members {
                        self.collect_hops(&Via::Object(*member), *weight, nesting - 1, into);
                    }
                }
                // A blackhole has no way out; an unknown object is not ours to judge.
                Some(
                    NextHopObject::Blackhole | NextHopObject::Resilient | NextHopObject::Group(_),
                )
                | None => {}
            },
        }
    }

    /// A neighbour on a link of ours becomes a prefix of its own: the connected prefix itself is too
    /// wide to name an Ethernet address. The way to it, if this route leads straight to it.
    fn neighbour(&self, prefix: Ipv4Net, route: &Route) -> Option<TargetHop> {
        if prefix.prefix_len() != 32 {
            return None;
        }
        // As if for a wider prefix, which names nobody.
        let Target::Forward(hops) = self.resolve(Ipv4Net::default(), route) else { return None };
        let [(hop, _)] = hops.as_slice() else { return None };
        if hop.gateway.is_some() {
            return None;
        }
        let address = IpAddr::from(prefix.addr());
        let key = (address, hop.interface);
        self.state.neighbours.get(&key).and_then(Neighbour::usable)?;
        Some(TargetHop { gateway: Some(address), ..hop.clone() })
    }

    /// Whether a prefix has routes in tables other than main that packets may come to. An address of this machine
    /// does not count where that is asked first: nothing around it has a say, and there is nothing inside.
    pub fn is_beside_main(&self, rules: &Rules, prefix: Ipv4Net) -> bool {
        let own = prefix.prefix_len() == 32 && rules.chain.begins_with_local();
        let beside = |route: &Route| match route.table {
            TABLE_MAIN => false,
            TABLE_LOCAL if own => false,
            table => rules.chain.asks(table),
        };
        self.state.routes.get(&prefix).is_some_and(|routes| routes.iter().any(beside))
    }

    /// Prefixes whose target may depend on one of the nexthop objects.
    pub fn users_of(&self, changed: &BTreeSet<u32>) -> Vec<Ipv4Net> {
        let mut objects = changed.clone();
        for (id, object) in &self.state.nexthops {
            if let NextHopObject::Group(members) = object
                && members.iter().any(|(member, _)| changed.contains(member))
            {
                objects.insert(*id);
            }
        }
        let uses = |route: &Route| matches!(route.via, Via::Object(id) if objects.contains(&id));
        let users = self.state.routes.iter().filter(|(_, routes)| routes.iter().any(uses));
        users.map(|(prefix, _)| prefix).collect()
    }
}

/// What becomes of packets that are not forwarded.
fn ends(kind: RouteKind) -> Target {
    match kind {
        RouteKind::Blackhole => Target::Drop(Reason::Blackhole),
        RouteKind::Unreachable | RouteKind::Prohibit => Target::Kernel(Reason::NoRoute),
        RouteKind::Local | RouteKind::Broadcast => Target::Kernel(Reason::Local),
        RouteKind::Unicast | RouteKind::Throw | RouteKind::Other => Target::Kernel(Reason::NotOurs),
    }
}
