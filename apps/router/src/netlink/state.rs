//! What the kernel knows about forwarding IPv4, as plain data.
//!
//! The mirror fills it, the RIB reads it. Everything the kernel decides with is here once: the local
//! and broadcast addresses, for example, are the routes of the local table, which the kernel keeps
//! itself, so that a second list of addresses could only disagree.
//!
//! Invariants: the routes that one prefix has in one table stand in the order in which the kernel tries
//! them (TOS, then metric, then position); no two of them are equal. In which order the tables are asked
//! the rules say. IPv6 is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::Ipv4Net;
use prefix_trie::PrefixMap;

pub use super::objects::Sysctls;
pub use super::objects::{
    CONF_ALL, CONF_DEFAULT, Conf, Hop, IfIndex, Link, Neighbour, NextHopObject, Origin, Route,
    RouteKind, Rule, RuleAction, TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN, Via, nud,
};

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
    Neighbour(IpAddr, IfIndex, Option<Neighbour>),
    /// Some settings of an interface; `None` where nothing was said.
    Conf(i32, ConfChange),
    /// The interface's settings are gone.
    ConfGone(i32),
    /// An interface got an address; the kernel revives hops over it without saying so.
    AddressAdded,
    /// An interface lost an address. With the last one the kernel drops the routes over that
    /// interface, and with any those that name it as their source, without saying so.
    AddressRemoved,
    /// Policy rules changed: read them again.
    Rules,
    /// Filters or queueing disciplines changed: look again.
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
    pub neighbours: BTreeSet<(IpAddr, IfIndex)>,
    /// Interfaces that changed.
    pub links: BTreeSet<IfIndex>,
    /// Nexthop objects that changed.
    pub nexthops: BTreeSet<u32>,
    /// Settings changed.
    pub conf: bool,
    /// Policy rules changed.
    pub rules: bool,
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
        self.rules |= other.rules;
        self.policy |= other.policy;
        self.doubtful |= other.doubtful;
    }
}

/// All of it.
#[derive(Clone, PartialEq)]
pub struct KernelState {
    /// Interfaces.
    pub links: BTreeMap<IfIndex, Link>,
    /// Nexthop objects.
    pub nexthops: BTreeMap<u32, NextHopObject>,
    /// Policy rules, in their order.
    pub rules: Vec<Rule>,
    /// Routes of all tables.
    pub routes: PrefixMap<Ipv4Net, Vec<Route>>,
    /// Which prefixes have routes in a table; not of main, which may have a million.
    tables: BTreeMap<u32, BTreeSet<Ipv4Net>>,
    /// Which wide prefixes have routes of an uncommon kind.
    special: BTreeSet<Ipv4Net>,
    /// Neighbours, in the order of their addresses.
    pub neighbours: BTreeMap<(IpAddr, IfIndex), Neighbour>,
    /// Settings by interface, with [`CONF_ALL`] and [`CONF_DEFAULT`].
    pub conf: BTreeMap<i32, Conf>,
    /// Settings of the network namespace.
    pub sysctls: Sysctls,
}

/// A network namespace as it starts.
impl Default for KernelState {
    fn default() -> Self {
        Self {
            links: BTreeMap::new(),
            nexthops: BTreeMap::new(),
            rules: Rule::defaults(),
            routes: PrefixMap::new(),
            tables: BTreeMap::new(),
            special: BTreeSet::new(),
            neighbours: BTreeMap::new(),
            conf: BTreeMap::new(),
            sysctls: Sysctls::default(),
        }
    }
}

impl std::fmt::Debug for KernelState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelState")
            .field("links", &self.links)
            .field("nexthops", &self.nexthops)
            .field("rules", &self.rules)
            .field("routes", &self.routes.iter().collect::<Vec<_>>())
            .field("neighbours", &self.neighbours)
            .field("conf", &self.conf)
            .finish()
    }
}

/// Whether a route says that a whole network is this machine's, or something we do not understand.
pub fn is_special(prefix: Ipv4Net, route: &Route) -> bool {
    let common = matches!(
        route.kind,
        RouteKind::Unicast
            | RouteKind::Blackhole
            | RouteKind::Unreachable
            | RouteKind::Prohibit
            | RouteKind::Throw
    );
    !common && prefix.prefix_len() < 32
}

/// What a neighbour means to us: its address if it has one that works, and whether it is dead.
fn means(neighbour: &Neighbour) -> Option<(Option<[u8; 6]>, bool)> {
    let meaning = (neighbour.usable(), neighbour.is_dead());
    (meaning != (None, false)).then_some(meaning)
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

impl KernelState {
    /// The interface with this name.
    pub fn link_named(&self, name: &str) -> Option<(IfIndex, &Link)> {
        self.links.iter().find(|(_, link)| link.name == name).map(|(index, link)| (*index, link))
    }

    /// The prefixes that have routes in a table, in their order; `None` for main.
    pub fn table(&self, table: u32) -> Option<&BTreeSet<Ipv4Net>> {
        static NONE: BTreeSet<Ipv4Net> = BTreeSet::new();
        (table != TABLE_MAIN).then(|| self.tables.get(&table).unwrap_or(&NONE))
    }

    /// Prefixes of which routes say that all their addresses are this machine's, or something not understood.
    pub fn special(&self) -> &BTreeSet<Ipv4Net> {
        &self.special
    }

    /// Whether a route says more than where packets go: which packets a rule for some of them is about, or which
    /// addresses are this machine's ([`crate::policy`]).
    fn is_policy(&self, prefix: Ipv4Net, route: &Route) -> bool {
        let selects = |rule: &Rule| {
            rule.action == RuleAction::Table(route.table)
                && *rule
                    != Rule {
                        longer_than: rule.longer_than,
                        ..Rule::lookup(rule.preference, route.table)
                    }
        };
        is_special(prefix, route) || route.table != TABLE_MAIN && self.rules.iter().any(selects)
    }

    /// Whether an interface has an IPv4 address: each has a route in the local table.
    pub fn has_address(&self, interface: IfIndex) -> bool {
        let over = |route: &Route| {
            route.kind == RouteKind::Local
                && matches!(&route.via, Via::Hops(hops) if hops.iter().any(|hop| hop.interface == interface))
        };
        let local = self.tables.get(&TABLE_LOCAL);
        local.into_iter().flatten().any(|prefix| {
            let routes = self.routes.get(prefix).into_iter().flatten();
            routes.filter(|route| route.table == TABLE_LOCAL).any(over)
        })
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
                if put(&mut self.nexthops, id, object) {
                    dirty.nexthops.insert(id);
                    dirty.doubtful |= gone;
                }
            }
            Change::AddRoute(prefix, route, placement) => {
                dirty.policy |= self.is_policy(prefix, &route);
                if self.add_route(prefix, route, placement) {
                    dirty.prefixes.insert(prefix);
                }
            }
            Change::RemoveRoute(prefix, route) => {
                dirty.policy |= self.is_policy(prefix, &route);
                self.remove_route(prefix, &route, dirty);
            }
            Change::Neighbour(address, interface, neighbour) => {
                let key = (address, interface);
                let before = self.neighbours.get(&key).and_then(means);
                let after = neighbour.as_ref().and_then(means);
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
            Change::Rules => {
                dirty.rules = true;
                dirty.policy = true;
            }
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
        let table = route.table;
        let changed = self.place_route(prefix, route, placement);
        self.index(prefix, table);
        changed
    }

    /// Brings up to date what is known of a prefix beside its routes, of which one of this table changed.
    fn index(&mut self, prefix: Ipv4Net, table: u32) {
        let Self { routes, tables, special, .. } = self;
        let routes = routes.get(&prefix).map_or(&[][..], Vec::as_slice);
        if routes.iter().any(|route| is_special(prefix, route)) {
            special.insert(prefix);
        } else {
            special.remove(&prefix);
        }
        if table == TABLE_MAIN {
            return;
        }
        let prefixes = tables.entry(table).or_default();
        if routes.iter().any(|route| route.table == table) {
            prefixes.insert(prefix);
        } else {
            prefixes.remove(&prefix);
        }
        if prefixes.is_empty() {
            tables.remove(&table);
        }
    }

    fn place_route(&mut self, prefix: Ipv4Net, route: Route, placement: Placement) -> bool {
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
            self.place_route(prefix, route, placement);
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
        self.index(prefix, route.table);
    }

    /// Becomes `next`, and says what differs. The same as applying the changes between the two.
    pub fn replace(&mut self, next: Self) -> Dirty {
        let mut dirty = Dirty::default();
        dirty.links.extend(differing(&self.links, &next.links));
        dirty.nexthops.extend(differing(&self.nexthops, &next.nexthops));
        dirty.conf = self.conf != next.conf;
        dirty.rules = self.rules != next.rules;
        let meanings = |state: &Self| -> BTreeMap<_, _> {
            state.neighbours.iter().filter_map(|(key, n)| Some((*key, means(n)?))).collect()
        };
        dirty.neighbours.extend(differing(&meanings(self), &meanings(&next)));
        dirty.conf |= self.sysctls != next.sysctls;
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
mod tests;
