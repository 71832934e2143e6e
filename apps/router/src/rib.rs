//! What a prefix means for the adapters: the best of its routes, resolved to a [`Target`].
//!
//! Follows the kernel's lookup with its three default rules. Local and main are one trie to the
//! kernel until the first rule of someone's own is added, and two from then on, even when that rule
//! is gone again; where the two readings differ (a route of main below a wide local one), the packet
//! is the kernel's. The default table counts only where the others have nothing at all.
//!
//! Whatever the extension cannot do as the kernel would (a route for one TOS only, `throw`, an
//! encapsulation, a gateway that is not IPv4) is the kernel's as well.
//!
//! Liveness of links and neighbours is not looked at here but in [`crate::table`], so that their
//! coming and going touches next hops, not prefixes. The exceptions are `ignore_routes_with_linkdown`,
//! which chooses between routes, and hops that the kernel itself says are dead.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use spine_abi::Reason;

use crate::interfaces::Interfaces;
use crate::netlink::KernelState;
use crate::netlink::state::{
    Hop, IfIndex, Neighbour, NextHopObject, Route, RouteKind, TABLE_DEFAULT, TABLE_LOCAL, Via,
};

/// Groups of groups the kernel does not have; a chain this long is a lie.
const NESTING: usize = 4;

/// One way out of a target.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetHop {
    /// The interface.
    pub interface: IfIndex,
    /// Whose Ethernet address the frame gets; `None`: the destination's own, which this prefix is
    /// too wide to know.
    pub gateway: Option<Ipv4Addr>,
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
    /// The target of a prefix, of its own routes or, for a single address, of its neighbour entry;
    /// `None` where the next shorter prefix decides.
    pub fn target(&self, prefix: Ipv4Net) -> Option<Target> {
        if let Some(target) = self.target_of_routes(prefix) {
            return Some(target);
        }
        self.target_of_neighbour(prefix)
    }

    fn target_of_routes(&self, prefix: Ipv4Net) -> Option<Target> {
        let routes = self.state.routes.get(&prefix)?;
        let mut candidates = routes.iter().filter(|route| !self.passed_over(route));
        let best = candidates.next()?;
        if best.table == TABLE_DEFAULT && self.covered(prefix, |route| route.table != TABLE_DEFAULT)
        {
            return None;
        }
        if best.table != TABLE_LOCAL && self.below_wide_local(prefix) {
            return Some(Target::Kernel(Reason::Local));
        }
        // Routes for one TOS stand before those for any: the kernel has to choose.
        if best.tos != 0 {
            return Some(Target::Kernel(Reason::NotOurs));
        }
        Some(self.resolve(prefix, best))
    }

    /// Whether some route of a prefix that contains this one, or of itself, satisfies `wanted`.
    fn covered(&self, prefix: Ipv4Net, wanted: impl Fn(&Route) -> bool) -> bool {
        self.state.routes.cover(&prefix).any(|(_, routes)| routes.iter().any(&wanted))
    }

    fn below_wide_local(&self, prefix: Ipv4Net) -> bool {
        let mut covers = self.state.routes.cover(&prefix).filter(|(cover, _)| *cover != prefix);
        covers.any(|(_, routes)| routes.iter().any(|route| route.table == TABLE_LOCAL))
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
            RouteKind::Unicast => self.forward(prefix, route),
            RouteKind::Blackhole => Target::Drop(Reason::Blackhole),
            RouteKind::Unreachable | RouteKind::Prohibit => Target::Kernel(Reason::NoRoute),
            RouteKind::Local | RouteKind::Broadcast => Target::Kernel(Reason::Local),
            RouteKind::Throw | RouteKind::Other => Target::Kernel(Reason::NotOurs),
        }
    }

    fn forward(&self, prefix: Ipv4Net, route: &Route) -> Target {
        if let Via::Object(id) = route.via
            && self.state.nexthops.get(&id) == Some(&NextHopObject::Blackhole)
        {
            return Target::Drop(Reason::Blackhole);
        }
        let mut hops = Vec::new();
        self.collect_hops(&route.via, 1, NESTING, &mut hops);
        hops.retain(|hop| !hop.dead);
        let ours = |hop: &Hop| self.ours.contains(hop.interface) && !hop.foreign;
        if hops.is_empty() || !hops.iter().all(ours) {
            return Target::Kernel(Reason::NotOurs);
        }
        let mut weighted: Vec<(TargetHop, u32)> = Vec::with_capacity(hops.len());
        for hop in hops {
            let own_address = (prefix.prefix_len() == 32).then(|| prefix.addr());
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
                Some(NextHopObject::Blackhole | NextHopObject::Group(_)) | None => {}
            },
        }
    }

    /// A neighbour on a link of ours becomes a prefix of its own: the connected prefix itself is too
    /// wide to name an Ethernet address.
    fn target_of_neighbour(&self, prefix: Ipv4Net) -> Option<Target> {
        if prefix.prefix_len() != 32 {
            return None;
        }
        let (hop, _) = self.connected(prefix)?;
        let key = (prefix.addr(), hop.interface);
        self.state.neighbours.get(&key).and_then(Neighbour::usable)?;
        Some(Target::Forward(vec![(TargetHop { gateway: Some(prefix.addr()), ..hop }, 1)]))
    }

    /// The hop of the route over a single address, if that leads straight onto a link of ours.
    fn connected(&self, address: Ipv4Net) -> Option<(TargetHop, u32)> {
        let covers: Vec<Ipv4Net> =
            self.state.routes.cover(&address).map(|(cover, _)| cover).collect();
        let target = covers.into_iter().rev().find_map(|cover| self.target_of_routes(cover))?;
        let Target::Forward(hops) = target else { return None };
        match hops.as_slice() {
            [only] if only.0.gateway.is_none() && self.ours.contains(only.0.interface) => {
                Some(only.clone())
            }
            _ => None,
        }
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
