//! What the kernel knows about forwarding IPv4, as plain data.
//!
//! The mirror fills it, the RIB reads it. Everything the kernel decides with is here once: the local
//! and broadcast addresses, for example, are the routes of the local table, which the kernel keeps
//! itself, so that a second list of addresses could only disagree.
//!
//! Invariants: routes of one prefix stand in the order in which the kernel tries them (local table
//! first, then TOS, then metric, then position); no two of them are equal. IPv6, and tables other
//! than local, main and default, are left out: a rule that leads to another table is an obstacle
//! ([`crate::policy`]).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use prefix_trie::PrefixMap;

/// The kernel's number of an interface.
pub type IfIndex = u32;

/// The table of addresses of this machine.
pub const TABLE_LOCAL: u32 = 255;
/// The table `ip route` works on.
pub const TABLE_MAIN: u32 = 254;
/// The table asked when neither local nor main has a match.
pub const TABLE_DEFAULT: u32 = 253;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its Ethernet address; `None` for anything that is not Ethernet.
    pub mac: Option<[u8; 6]>,
    /// Bytes of the largest IP packet it takes.
    pub mtu: u32,
    /// Administratively up (IFF_UP).
    pub up: bool,
    /// Has a carrier (IFF_LOWER_UP).
    pub carrier: bool,
    /// The driver's word for it ("veth"), where it has one.
    pub kind: Option<String>,
    /// What it is a port of: a bridge, a bond, a VRF.
    pub master: Option<IfIndex>,
    /// The interface on which it lies and whose packets it takes, although they are addressed to that
    /// one: for a VLAN device, an ipvlan, a macvlan of the kind that does.
    pub takes_from: Option<IfIndex>,
}

/// What is known about a machine on an interface's link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Its Ethernet address, once resolved.
    pub mac: Option<[u8; 6]>,
    /// The NUD_* bit of its state.
    pub state: u16,
}

/// NUD_INCOMPLETE .. NUD_PERMANENT (linux/neighbour.h).
pub mod nud {
    /// Being resolved for the first time.
    pub const INCOMPLETE: u16 = 0x01;
    /// Confirmed recently.
    pub const REACHABLE: u16 = 0x02;
    /// Not confirmed recently, still usable.
    pub const STALE: u16 = 0x04;
    /// Used while stale; will be probed.
    pub const DELAY: u16 = 0x08;
    /// Being probed.
    pub const PROBE: u16 = 0x10;
    /// Resolution failed.
    pub const FAILED: u16 = 0x20;
    /// Needs no resolution.
    pub const NOARP: u16 = 0x40;
    /// Set by hand.
    pub const PERMANENT: u16 = 0x80;
    /// States in which the kernel itself sends to the address (NUD_VALID).
    pub const VALID: u16 = PERMANENT | NOARP | REACHABLE | PROBE | STALE | DELAY;
}

impl Neighbour {
    /// The address to send to, if the kernel would send to it, too.
    pub fn usable(&self) -> Option<[u8; 6]> {
        self.mac.filter(|_| self.state & nud::VALID != 0)
    }
}

/// The settings under `net.ipv4.conf.<interface>` that forwarding depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conf {
    /// Packets received here may be forwarded.
    pub forwarding: bool,
    /// Reverse-path filter: 0 off, 1 strict, 2 loose.
    pub rp_filter: u32,
    /// Routes over an interface without carrier are passed over.
    pub ignore_linkdown: bool,
}

/// Where the settings of `conf/all` are found in [`KernelState::conf`].
pub const CONF_ALL: i32 = -1;
/// Where the settings of `conf/default` are found in [`KernelState::conf`].
pub const CONF_DEFAULT: i32 = -2;

/// One way out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hop {
    /// The interface.
    pub interface: IfIndex,
    /// The router to send to; `None`: the destination itself is on the link.
    pub gateway: Option<Ipv4Addr>,
    /// Its share, 1 to 65536, relative to the other hops of the route.
    pub weight: u32,
    /// Something we do not do: an encapsulation, or a gateway that is not IPv4.
    pub foreign: bool,
    /// The kernel does not use it (RTNH_F_DEAD): its interface is down, or has lost its last address.
    pub dead: bool,
}

impl Hop {
    /// Whether it is the same way out, alive or dead.
    fn is_same(&self, other: &Self) -> bool {
        let way = |hop: &Self| (hop.interface, hop.gateway, hop.weight, hop.foreign);
        way(self) == way(other)
    }
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Via {
    /// Hops of its own; empty for a blackhole and its like.
    Hops(Vec<Hop>),
    /// A nexthop object (`ip nexthop`), by its number.
    Object(u32),
}

impl Via {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hops(ours), Self::Hops(theirs)) => {
                ours.len() == theirs.len()
                    && ours.iter().zip(theirs).all(|(one, other)| one.is_same(other))
            }
            _ => self == other,
        }
    }

    /// Whether one of its own hops is dead.
    fn has_dead_hop(&self) -> bool {
        matches!(self, Self::Hops(hops) if hops.iter().any(|hop| hop.dead))
    }
}

/// A nexthop object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextHopObject {
    /// One way out.
    Single(Hop),
    /// Throws packets away.
    Blackhole,
    /// Other objects by number, with their weights.
    Group(Vec<(u32, u32)>),
}

/// What happens to a packet that a route matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// It is forwarded.
    Unicast,
    /// It is for this machine.
    Local,
    /// It is a broadcast on one of our links.
    Broadcast,
    /// It is dropped without a word.
    Blackhole,
    /// It is dropped and the sender told.
    Unreachable,
    /// It is dropped and the sender told so.
    Prohibit,
    /// The search goes on in the next table.
    Throw,
    /// Something else, or something we could not read.
    Other,
}

/// By what else the kernel tells routes apart; none of it matters to where packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Origin {
    /// Who made the route (RTPROT_*).
    pub protocol: u8,
    /// How far its destination is (RT_SCOPE_*).
    pub scope: u8,
    /// The source address of this machine's own packets.
    pub source: Option<Ipv4Addr>,
}

/// A route, without its prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// Local, main or default.
    pub table: u32,
    /// The type of service it is for; 0 for any.
    pub tos: u8,
    /// The lower, the better.
    pub metric: u32,
    /// What it does.
    pub kind: RouteKind,
    /// Where it leads.
    pub via: Via,
    /// The largest packet for this route, where one is set.
    pub mtu: Option<u32>,
    /// Whose it is.
    pub origin: Origin,
}

impl Route {
    /// Whether the kernel would take one for the other: they differ at most in which hops are dead.
    pub fn is_same(&self, other: &Self) -> bool {
        let rest = |route: &Self| (route.key(), route.kind, route.mtu, route.origin);
        rest(self) == rest(other) && self.via.is_same(&other.via)
    }

    /// Routes of one prefix with the same key replace each other.
    fn key(&self) -> (std::cmp::Reverse<u32>, std::cmp::Reverse<u8>, u32) {
        (std::cmp::Reverse(self.table), std::cmp::Reverse(self.tos), self.metric)
    }
}

/// Where a new route goes among those with its prefix, table, TOS and metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Before them.
    First,
    /// After them.
    Last,
    /// In the place of the first.
    Replace,
}

/// One step from a state to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An interface is now so, or is gone.
    Link(IfIndex, Option<Link>),
    /// A nexthop object is now so, or is gone.
    NextHop(u32, Option<NextHopObject>),
    /// A route was added.
    AddRoute(Ipv4Net, Route, Placement),
    /// A route was removed.
    RemoveRoute(Ipv4Net, Route),
    /// A neighbour is now so, or is gone.
    Neighbour(Ipv4Addr, IfIndex, Option<Neighbour>),
    /// Some settings of an interface; `None` where nothing was said.
    Conf(i32, ConfChange),
    /// The interface's settings are gone.
    ConfGone(i32),
    /// An interface got an address; the kernel revives hops over it without saying so.
    AddressAdded,
    /// An interface lost an address. With the last one the kernel drops the routes over that
    /// interface, and with any those that name it as their source, without saying so.
    AddressRemoved,
    /// Rules, filters or queueing disciplines changed: look again.
    Policy,
}

/// The settings a netconf notification speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConfChange {
    /// As in [`Conf`].
    pub forwarding: Option<bool>,
    /// As in [`Conf`].
    pub rp_filter: Option<u32>,
    /// As in [`Conf`].
    pub ignore_linkdown: Option<bool>,
}

/// What a batch of changes touched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dirty {
    /// Prefixes whose routes changed.
    pub prefixes: BTreeSet<Ipv4Net>,
    /// Neighbours that changed in what they mean to us (address, usability).
    pub neighbours: BTreeSet<(Ipv4Addr, IfIndex)>,
    /// Interfaces that changed.
    pub links: BTreeSet<IfIndex>,
    /// Nexthop objects that changed.
    pub nexthops: BTreeSet<u32>,
    /// Settings changed.
    pub conf: bool,
    /// Policy may have changed.
    pub policy: bool,
    /// The kernel may have dropped routes without saying so (it does when an interface goes down, an
    /// address is removed or a nexthop object goes): only a new dump tells.
    pub doubtful: bool,
}

impl Dirty {
    /// Whether nothing was touched.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what another batch touched.
    pub fn merge(&mut self, other: Self) {
        self.prefixes.extend(other.prefixes);
        self.neighbours.extend(other.neighbours);
        self.links.extend(other.links);
        self.nexthops.extend(other.nexthops);
        self.conf |= other.conf;
        self.policy |= other.policy;
        self.doubtful |= other.doubtful;
    }
}

/// All of it.
#[derive(Clone, PartialEq, Default)]
pub struct KernelState {
    /// Interfaces.
    pub links: BTreeMap<IfIndex, Link>,
    /// Nexthop objects.
    pub nexthops: BTreeMap<u32, NextHopObject>,
    /// Routes of the local, main and default tables.
    pub routes: PrefixMap<Ipv4Net, Vec<Route>>,
    /// Neighbours, in the order of their addresses.
    pub neighbours: BTreeMap<(Ipv4Addr, IfIndex), Neighbour>,
    /// Settings by interface, with [`CONF_ALL`] and [`CONF_DEFAULT`].
    pub conf: BTreeMap<i32, Conf>,
}

impl std::fmt::Debug for KernelState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelState")
            .field("links", &self.links)
            .field("nexthops", &self.nexthops)
            .field("routes", &self.routes.iter().collect::<Vec<_>>())
            .field("neighbours", &self.neighbours)
            .field("conf", &self.conf)
            .finish()
    }
}

/// Sets or removes, and says whether that was a change.
fn put<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) -> bool {
    match value {
        Some(value) if map.get(&key) == Some(&value) => false,
        Some(value) => {
            map.insert(key, value);
            true
        }
        None => map.remove(&key).is_some(),
    }
}

/// Whether a route says which senders the kernel believes, beside where packets go: a default route
/// and one that throws packets away do if there is a reverse-path filter, a network of addresses of
/// this machine always does ([`crate::policy`]).
fn is_policy(prefix: Ipv4Net, route: &Route) -> bool {
    match route.table {
        TABLE_LOCAL => prefix.prefix_len() < 32,
        _ => prefix.prefix_len() == 0 || route.kind != RouteKind::Unicast,
    }
}

impl KernelState {
    /// The interface with this name.
    pub fn link_named(&self, name: &str) -> Option<(IfIndex, &Link)> {
        self.links.iter().find(|(_, link)| link.name == name).map(|(index, link)| (*index, link))
    }

    /// The settings of an interface.
    pub fn conf_of(&self, interface: IfIndex) -> Conf {
        i32::try_from(interface)
            .ok()
            .and_then(|index| self.conf.get(&index))
            .copied()
            .unwrap_or_default()
    }

    /// Takes one step, and notes in `dirty` what it touched. A change that changes nothing touches
    /// nothing, so notifications older than the dump they follow do no harm.
    pub fn apply(&mut self, change: Change, dirty: &mut Dirty) {
        match change {
            Change::Link(index, link) => self.apply_link(index, link, dirty),
            Change::NextHop(id, object) => {
                let gone = object.is_none();
                let before = self.nexthops.get(&id);
                let is_blackhole = |object| object == Some(&NextHopObject::Blackhole);
                dirty.policy |= is_blackhole(before) != is_blackhole(object.as_ref());
                if put(&mut self.nexthops, id, object) {
                    dirty.nexthops.insert(id);
                    dirty.doubtful |= gone;
                }
            }
            Change::AddRoute(prefix, route, placement) => {
                dirty.policy |= is_policy(prefix, &route);
                if self.add_route(prefix, route, placement) {
                    dirty.prefixes.insert(prefix);
                }
            }
            Change::RemoveRoute(prefix, route) => {
                dirty.policy |= is_policy(prefix, &route);
                self.remove_route(prefix, &route, dirty);
            }
            Change::Neighbour(address, interface, neighbour) => {
                let key = (address, interface);
                let before = self.neighbours.get(&key).and_then(Neighbour::usable);
                let after = neighbour.as_ref().and_then(Neighbour::usable);
                if put(&mut self.neighbours, key, neighbour) && before != after {
                    dirty.neighbours.insert(key);
                }
            }
            Change::Conf(interface, change) => {
                let conf = self.conf.entry(interface).or_default();
                let before = *conf;
                conf.forwarding = change.forwarding.unwrap_or(conf.forwarding);
                conf.rp_filter = change.rp_filter.unwrap_or(conf.rp_filter);
                conf.ignore_linkdown = change.ignore_linkdown.unwrap_or(conf.ignore_linkdown);
                dirty.conf |= *conf != before;
            }
            Change::ConfGone(interface) => dirty.conf |= self.conf.remove(&interface).is_some(),
            Change::AddressAdded => dirty.doubtful |= self.has_dead_hops(),
            Change::AddressRemoved => dirty.doubtful = true,
            Change::Policy => dirty.policy = true,
        }
    }

    fn apply_link(&mut self, index: IfIndex, link: Option<Link>, dirty: &mut Dirty) {
        let taken = |link: Option<&Link>| link.and_then(|link| link.takes_from);
        dirty.policy |= taken(self.links.get(&index)) != taken(link.as_ref());
        let flags = |link: Option<&Link>| link.map(|link| (link.up, link.carrier));
        let before = flags(self.links.get(&index));
        let after = flags(link.as_ref());
        if put(&mut self.links, index, link) {
            dirty.links.insert(index);
            dirty.doubtful |= before.is_some() && before != after;
        }
    }

    fn has_dead_hops(&self) -> bool {
        self.routes.values().flatten().any(|route| route.via.has_dead_hop())
            || self
                .nexthops
                .values()
                .any(|object| matches!(object, NextHopObject::Single(hop) if hop.dead))
    }

    fn add_route(&mut self, prefix: Ipv4Net, route: Route, placement: Placement) -> bool {
        let routes = self.routes.entry(prefix).or_default();
        let key = route.key();
        let start = routes.partition_point(|other| other.key() < key);
        let end = routes.partition_point(|other| other.key() <= key);
        let existing = routes[start..end].iter().position(|other| other.is_same(&route));
        if let Some(position) = existing
            && routes[start + position] != route
        {
            // The same with other hops dead: so it is now, wherever it stands.
            routes[start + position] = route.clone();
            self.add_route(prefix, route, placement);
            return true;
        }
        match (placement, existing) {
            // The kernel knows no two equal routes: this is old news.
            (Placement::First | Placement::Last, Some(_)) | (Placement::Replace, Some(0)) => false,
            (Placement::Replace, _) if start < end => {
                routes[start] = route;
                if let Some(position) = existing {
                    routes.remove(start + position);
                }
                true
            }
            (Placement::Last, None) => {
                routes.insert(end, route);
                true
            }
            (Placement::First | Placement::Replace, _) => {
                routes.insert(start, route);
                true
            }
        }
    }

    fn remove_route(&mut self, prefix: Ipv4Net, route: &Route, dirty: &mut Dirty) {
        let Some(routes) = self.routes.get_mut(&prefix) else { return };
        if let Some(position) = routes.iter().position(|other| other.is_same(route)) {
            routes.remove(position);
            dirty.prefixes.insert(prefix);
        } else if routes.iter().any(|other| other.key() == route.key()) {
            // One like it but not it: we missed something.
            dirty.doubtful = true;
        }
        if routes.is_empty() {
            self.routes.remove(&prefix);
        }
    }

    /// Becomes `next`, and says what differs. The same as applying the changes between the two.
    pub fn replace(&mut self, next: Self) -> Dirty {
        let mut dirty = Dirty::default();
        dirty.links.extend(differing(&self.links, &next.links));
        dirty.nexthops.extend(differing(&self.nexthops, &next.nexthops));
        dirty.conf = self.conf != next.conf;
        let usable = |state: &Self| -> BTreeMap<_, _> {
            state.neighbours.iter().filter_map(|(key, n)| Some((*key, n.usable()?))).collect()
        };
        dirty.neighbours.extend(differing(&usable(self), &usable(&next)));
        for (prefix, routes) in &self.routes {
            if next.routes.get(&prefix) != Some(routes) {
                dirty.prefixes.insert(prefix);
            }
        }
        for prefix in next.routes.keys() {
            if !self.routes.contains_key(&prefix) {
                dirty.prefixes.insert(prefix);
            }
        }
        *self = next;
        dirty
    }
}

fn differing<K: Ord + Copy, V: PartialEq>(
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
) -> BTreeSet<K> {
    let gone_or_changed = before.iter().filter(|(key, value)| after.get(key) != Some(value));
    let new = after.keys().filter(|key| !before.contains_key(key));
    gone_or_changed.map(|(key, _)| *key).chain(new.copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> Ipv4Net {
        text.parse().expect("a prefix")
    }

    fn via(gateway: u8, metric: u32) -> Route {
        let hop = Hop {
            interface: 2,
            gateway: Some(Ipv4Addr::new(10, 0, 0, gateway)),
            weight: 1,
            foreign: false,
            dead: false,
        };
        Route {
            table: TABLE_MAIN,
            tos: 0,
            metric,
            kind: RouteKind::Unicast,
            via: Via::Hops(vec![hop]),
            mtu: None,
            origin: Origin::default(),
        }
    }

    fn gateways(state: &KernelState, at: Ipv4Net) -> Vec<u8> {
        let last_octet = |route: &Route| match &route.via {
            Via::Hops(hops) => hops[0].gateway.expect("a gateway").octets()[3],
            Via::Object(_) => 0,
        };
        state
            .routes
            .get(&at)
            .map_or_else(Vec::new, |routes| routes.iter().map(last_octet).collect())
    }

    #[test]
    fn routes_stand_in_the_order_in_which_the_kernel_tries_them() {
        let at = prefix("10.9.0.0/16");
        let mut state = KernelState::default();
        let mut dirty = Dirty::default();
        for (route, placement) in [
            (via(1, 100), Placement::Last),
            (via(2, 50), Placement::Last),
            (via(3, 100), Placement::Last),
            (via(4, 100), Placement::First),
            (via(5, 50), Placement::Replace),
        ] {
            state.apply(Change::AddRoute(at, route, placement), &mut dirty);
        }
        assert_eq!(gateways(&state, at), [5, 4, 1, 3]);
        assert_eq!(dirty.prefixes.into_iter().collect::<Vec<_>>(), [at]);
    }

    #[test]
    fn old_news_changes_nothing() {
        let at = prefix("10.9.0.0/16");
        let mut state = KernelState::default();
        for route in [via(1, 100), via(2, 100)] {
            let add = Change::AddRoute(at, route, Placement::Last);
            state.apply(add, &mut Dirty::default());
        }
        let before = state.clone();
        let mut dirty = Dirty::default();
        for change in [
            Change::AddRoute(at, via(2, 100), Placement::First),
            Change::AddRoute(at, via(1, 100), Placement::Replace),
            Change::RemoveRoute(prefix("10.8.0.0/16"), via(1, 100)),
            Change::Neighbour(Ipv4Addr::new(10, 0, 0, 9), 2, None),
            Change::Link(77, None),
        ] {
            state.apply(change, &mut dirty);
        }
        assert_eq!(state, before);
        assert!(dirty.is_empty(), "{dirty:?}");
    }

    #[test]
    fn routes_that_differ_only_in_their_origin_are_two() {
        let at = prefix("10.9.0.0/16");
        let source = Some(Ipv4Addr::new(10, 0, 0, 1));
        for (name, origin) in [
            ("protocol", Origin { protocol: 12, ..Origin::default() }),
            ("scope", Origin { scope: 253, ..Origin::default() }),
            ("source", Origin { source, ..Origin::default() }),
        ] {
            let other = Route { origin, ..via(1, 0) };
            let mut state = KernelState::default();
            for change in [
                Change::AddRoute(at, via(1, 0), Placement::Last),
                Change::AddRoute(at, other.clone(), Placement::Last),
                Change::RemoveRoute(at, via(1, 0)),
            ] {
                state.apply(change, &mut Dirty::default());
            }
            assert_eq!(state.routes.get(&at), Some(&vec![other]), "{name}");
        }
    }

    #[test]
    fn a_route_whose_hop_died_is_still_the_same_route() {
        let at = prefix("10.9.0.0/16");
        let mut dead = via(1, 0);
        if let Via::Hops(hops) = &mut dead.via {
            hops[0].dead = true;
        }
        let mut state = KernelState::default();
        let mut dirty = Dirty::default();
        state.apply(Change::AddRoute(at, via(1, 0), Placement::Last), &mut dirty);
        state.apply(Change::AddressAdded, &mut dirty);
        assert!(!dirty.doubtful, "nothing to revive");
        state.apply(Change::AddRoute(at, dead.clone(), Placement::Last), &mut dirty);
        assert_eq!(state.routes.get(&at), Some(&vec![dead]));
        state.apply(Change::AddressAdded, &mut dirty);
        assert!(dirty.doubtful, "the hop may live again");
        state.apply(Change::RemoveRoute(at, via(1, 0)), &mut dirty);
        assert_eq!(state.routes.get(&at), None);
    }

    #[test]
    fn removing_a_route_we_know_differently_asks_for_a_dump() {
        let at = prefix("10.9.0.0/16");
        let mut state = KernelState::default();
        let mut dirty = Dirty::default();
        state.apply(Change::AddRoute(at, via(1, 0), Placement::Last), &mut dirty);
        state.apply(Change::RemoveRoute(at, via(9, 0)), &mut dirty);
        assert!(dirty.doubtful);
        assert_eq!(gateways(&state, at), [1]);
    }

    #[test]
    fn replacing_the_state_names_exactly_what_differs() {
        let (kept, gone, new) = (prefix("10.1.0.0/16"), prefix("10.2.0.0/16"), prefix("0.0.0.0/0"));
        let mut before = KernelState::default();
        let mut after = KernelState::default();
        let mut scratch = Dirty::default();
        for (state, at) in [(0, kept), (0, gone), (1, kept), (1, new)] {
            let add = Change::AddRoute(at, via(1, 0), Placement::Last);
            if state == 0 { &mut before } else { &mut after }.apply(add, &mut scratch);
        }
        let dirty = before.replace(after.clone());
        assert_eq!(dirty.prefixes, BTreeSet::from([gone, new]));
        assert_eq!(before, after);
        assert!(before.replace(after).is_empty());
    }
}
