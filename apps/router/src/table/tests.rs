//! The table against an oracle that has neither tries nor memory: it looks at every route for every
//! address, after every batch of a random history.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use spine_fib::{Addresses, Half};
use spine_nic::open::Ingresses;

use super::*;
use crate::adapters::Adapter;
use crate::claims::{ClaimChange, Claims, Whose};
use crate::fib::{Action, Fib, FibError, GROUPS, NEXT_HOPS};
use crate::interfaces::Interfaces;
use crate::netlink::KernelState;
use crate::netlink::state::{
    CONF_ALL, Change, Conf, Hop, Neighbour, NextHopObject, Origin, Placement, Route, RouteKind,
    Rule, RuleAction, TABLE_LOCAL, TABLE_MAIN, Via,
};
use crate::ownership::{Ownership, Reach};
use crate::testing::{Echo, HeapRegion, NEIGHBOURS, OURS, addresses, ordinary, prefix, step};

/// What may happen to a packet, whether the classifier should claim it, and whether a packet *from* there is
/// believed on each of our interfaces.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    outcomes: Vec<NextHop>,
    ours: bool,
    believed: [bool; 2],
}

fn kernel(reason: Reason) -> Expected {
    let outcomes = vec![NextHop::without_way(Action::Kernel(reason))];
    Expected { outcomes, ours: false, believed: [false; 2] }
}

fn hops_of(state: &KernelState, via: &Via, depth: usize) -> Vec<Hop> {
    match via {
        Via::Hops(hops) => hops.clone(),
        Via::Object(id) => match state.nexthops.get(id) {
            Some(NextHopObject::Single(hop)) => vec![hop.clone()],
            Some(NextHopObject::Group(members)) if depth > 0 => members
                .iter()
                .flat_map(|(member, _)| hops_of(state, &Via::Object(*member), depth - 1))
                .collect(),
            _ => Vec::new(),
        },
    }
}

fn lost(state: &KernelState, interface: u32) -> bool {
    let minds = state.conf.get(&interface.cast_signed()).is_some_and(|conf| conf.ignore_linkdown);
    minds && state.links.get(&interface).is_some_and(|link| !link.carrier)
}

/// The route that a table has for an address: prefix and route.
fn longest(state: &KernelState, address: Ipv4Addr, table: u32) -> Option<(Ipv4Net, &Route)> {
    let usable = |route: &Route| {
        let hops = hops_of(state, &route.via, 4);
        hops.is_empty() || !hops.iter().all(|hop| hop.dead || lost(state, hop.interface))
    };
    state
        .routes
        .iter()
        .filter(|(net, _)| net.contains(&address))
        .flat_map(|(net, routes)| routes.iter().enumerate().map(move |(at, r)| (net, at, r)))
        .filter(|(_, _, route)| route.table == table && usable(route))
        .max_by_key(|(net, at, _)| (net.prefix_len(), std::cmp::Reverse(*at)))
        .map(|(net, _, route)| (net, route))
}

fn is_blackhole(state: &KernelState, route: &Route) -> bool {
    matches!(route.via, Via::Object(id)
        if state.nexthops.get(&id) == Some(&NextHopObject::Blackhole))
}

/// Whether a rule matches a packet without a mark, from somewhere else, that came in on an interface of ours.
fn matches(rule: &Rule, to: Ipv4Addr) -> bool {
    let hit = rule.mark & rule.mask == 0
        && rule.ingress.is_none()
        && rule.source.contains(&Ipv4Addr::new(198, 51, 100, 1))
        && rule.destination.contains(&to);
    hit != rule.inverted
}

/// Where the kernel's search ends: a route, or what is done without one.
fn best(state: &KernelState, address: Ipv4Addr) -> Result<(Ipv4Net, &Route), Expected> {
    let mut at = 0;
    while let Some(rule) = state.rules.get(at) {
        at += 1;
        if !matches(rule, address) {
            continue;
        }
        let table = match rule.action {
            RuleAction::Table(table) => table,
            RuleAction::Goto(target) => {
                let found = state.rules.iter().position(|rule| rule.preference == target);
                at = found.map_or(at, |found| found.max(at));
                continue;
            }
            RuleAction::End(RouteKind::Blackhole) => return Err(blackhole()),
            RuleAction::End(_) => return Err(kernel(Reason::NoRoute)),
            RuleAction::Nothing | RuleAction::Other => continue,
        };
        let Some((net, route)) = longest(state, address, table) else { continue };
        if route.tos != 0 || route.kind == RouteKind::Other {
            return Err(kernel(Reason::NotOurs));
        }
        let leads = match route.kind {
            RouteKind::Throw => continue,
            RouteKind::Unicast => !is_blackhole(state, route),
            RouteKind::Local | RouteKind::Broadcast => true,
            _ => false,
        };
        if leads && rule.longer_than.is_some_and(|length| u32::from(net.prefix_len()) <= length) {
            continue;
        }
        return Ok((net, route));
    }
    Err(kernel(Reason::NoRoute))
}

fn blackhole() -> Expected {
    let outcomes = vec![NextHop::without_way(Action::Drop(Reason::Blackhole))];
    Expected { outcomes, ours: true, believed: [false; 2] }
}

fn believed(state: &KernelState, route: &Route) -> [bool; 2] {
    let filter = |interface: i32| state.conf.get(&interface).map_or(0, |conf| conf.rp_filter);
    let over = |route: &Route, interface| {
        hops_of(state, &route.via, 4).iter().any(|hop| hop.interface == interface)
    };
    OURS.map(|interface| {
        let has_address = state.routes.iter().any(|(_, routes)| {
            routes.iter().any(|route| {
                (route.table, route.kind) == (TABLE_LOCAL, RouteKind::Local)
                    && matches!(route.via, Via::Hops(_))
                    && over(route, interface)
            })
        });
        match filter(interface.cast_signed()).max(filter(CONF_ALL)) {
            0 => false,
            2 if has_address => true,
            _ => over(route, interface),
        }
    })
}

fn expected(state: &KernelState, address: Ipv4Addr) -> Expected {
    if state.rules == Rule::defaults()
        && let Some((net, _)) = longest(state, address, TABLE_MAIN)
        && state.routes.iter().any(|(cover, routes)| {
            cover != net && cover.contains(&net) && routes.iter().any(|r| r.table == TABLE_LOCAL)
        })
    {
        return kernel(Reason::Local);
    }
    let (net, route) = match best(state, address) {
        Ok(found) => found,
        Err(expected) => return expected,
    };
    match route.kind {
        RouteKind::Unicast if !is_blackhole(state, route) => {}
        RouteKind::Unicast | RouteKind::Blackhole => return blackhole(),
        RouteKind::Local | RouteKind::Broadcast => return kernel(Reason::Local),
        _ => return kernel(Reason::NoRoute),
    }
    Expected { believed: believed(state, route), ..forwarded(state, address, net, route) }
}

/// What happens to a packet that a route forwards; whether it is believed aside.
fn forwarded(state: &KernelState, address: Ipv4Addr, net: Ipv4Net, route: &Route) -> Expected {
    let believed = [false; 2];
    let mut hops = hops_of(state, &route.via, 4);
    hops.retain(|hop| !hop.dead);
    let ours = |hop: &Hop| OURS.contains(&hop.interface) && !hop.foreign;
    if hops.is_empty() || !hops.iter().all(ours) {
        return kernel(Reason::NotOurs);
    }
    let distinct: BTreeSet<(u32, Option<IpAddr>)> =
        hops.iter().map(|hop| (hop.interface, hop.gateway)).collect();
    // Straight onto the link: the neighbour itself is the way, and ours only while it is known.
    if distinct.len() == 1 && hops[0].gateway.is_none() && net.prefix_len() < 32 {
        let known = NEIGHBOURS.contains(&address)
            && state
                .neighbours
                .get(&(address.into(), hops[0].interface))
                .and_then(|n| n.usable())
                .is_some();
        let outcome = outcome(state, route, hops[0].interface, known.then_some(address.into()));
        let ours = known && outcome.action == Action::Forward;
        return Expected { outcomes: vec![outcome], ours, believed };
    }
    let alive = |interface: u32| {
        state.links.get(&interface).is_some_and(|link| link.up) && !lost(state, interface)
    };
    let single = (net.prefix_len() == 32).then_some(IpAddr::from(address));
    let object = matches!(route.via, Via::Object(_));
    let minds = distinct.len() > 1 && (object || state.sysctls.multipath_minds_neighbours);
    let counts = |(interface, gateway): &(u32, Option<IpAddr>)| {
        let neighbour =
            gateway.or(single).and_then(|gateway| state.neighbours.get(&(gateway, *interface)));
        alive(*interface) && !(minds && neighbour.is_some_and(Neighbour::is_dead))
    };
    let any_counts = distinct.iter().any(counts);
    let outcomes: Vec<NextHop> = distinct
        .iter()
        .filter(|hop| !any_counts || counts(hop))
        .map(|(interface, gateway)| outcome(state, route, *interface, gateway.or(single)))
        .collect();
    let ways = net.prefix_len() == 32 || hops.iter().all(|hop| hop.gateway.is_some());
    // Of two interfaces, a way out by each may be back to where the packet came from.
    let back = |from: &u32| distinct.iter().any(|(interface, _)| interface == from);
    let ours = ways
        && outcomes.iter().all(|outcome| outcome.action == Action::Forward)
        && !OURS.iter().all(back);
    Expected { outcomes, ours, believed }
}

fn outcome(state: &KernelState, route: &Route, interface: u32, to: Option<IpAddr>) -> NextHop {
    let stays = |reason| NextHop::without_way(Action::Kernel(reason));
    let Some(peer) = OURS.iter().position(|ours| *ours == interface) else {
        return stays(Reason::NotOurs);
    };
    let neighbour = to.and_then(|to| state.neighbours.get(&(to, interface)));
    let link = state.links.get(&interface).filter(|link| link.up && link.carrier);
    match (link, neighbour.and_then(|n| n.usable())) {
        (Some(link), Some(destination)) => NextHop {
            action: Action::Forward,
            peer: u16::try_from(peer).expect("two interfaces"),
            mtu: u16::try_from(route.mtu.unwrap_or(link.mtu).min(link.mtu)).expect("small"),
            addresses: Addresses::new(destination, link.mac.expect("random links are Ethernet")),
        },
        _ => stays(Reason::Unresolved),
    }
}

/// Host half without netlink and adapters.
struct Host {
    state: KernelState,
    ours: Interfaces,
    table: Table,
    claims: Claims,
    told: PrefixMap<Ipv4Net, Ingresses>,
    ownership: Ownership,
    addresses: BTreeSet<Ipv4Addr>,
    fib: Fib<HeapRegion>,
    adapters: Vec<Box<dyn Adapter>>,
}

impl Host {
    fn new() -> Self {
        Self {
            state: KernelState::default(),
            ours: Interfaces::new(OURS.to_vec()),
            table: Table::new(GROUPS, NEXT_HOPS),
            claims: Claims::new(),
            told: PrefixMap::new(),
            ownership: Ownership::of(OURS.len(), Reach { destinations: true, sets: 0 }, &[]),
            addresses: BTreeSet::new(),
            fib: Fib::new(HeapRegion::new(), &[0, 1], false),
            adapters: vec![Echo::boxed(usize::MAX), Echo::boxed(usize::MAX)],
        }
    }

    fn follow(&mut self, dirty: &Dirty) -> Vec<Operation> {
        let rib = Rib { state: &self.state, ours: &self.ours };
        let update = self.table.update(rib, dirty);
        self.carry_out(&update);
        update.operations
    }

    fn carry_out(&mut self, update: &Update) {
        let starved = self.fib.apply(&update.operations, &mut self.adapters).expect("echoes");
        let starving = self.table.settle(starved);
        let whose = Whose { table: &self.table, ours: &self.ours, ownership: &self.ownership };
        for news in self.claims.update(whose, &update.changed, &starving) {
            match news {
                ClaimChange::Set(net, from) => drop(self.told.insert(net, from)),
                ClaimChange::Remove(net) => assert!(self.told.remove(&net).is_some(), "{net}"),
                ClaimChange::SetAddress(at) => assert!(self.addresses.insert(at), "{at} twice"),
                ClaimChange::RemoveAddress(at) => assert!(self.addresses.remove(&at), "{at}"),
            }
        }
    }

    fn apply(&mut self, change: Change) -> Vec<Operation> {
        let mut dirty = Dirty::default();
        self.state.apply(change, &mut dirty);
        self.follow(&dirty)
    }

    /// All next hops that flows to an address may take, in one half.
    fn outcomes(&self, half: u32, address: Ipv4Addr) -> Vec<NextHop> {
        let half = Half::new(self.fib.region(), half);
        let group = half.lookup(address.into());
        let mut all: Vec<NextHop> = Vec::new();
        for flow in 0..64 {
            let (_, hop) = half.next_hop(group, || flow);
            if !all.contains(&hop) {
                all.push(hop);
            }
        }
        all
    }

    fn claims(&self, address: [u8; 4]) -> bool {
        let host = Ipv4Net::from(Ipv4Addr::from(address));
        self.told.get_lpm(&host).is_some_and(|(_, from)| *from != Ingresses::NONE)
    }

    fn check(&self) {
        for address in addresses() {
            let expected = expected(&self.state, address);
            for half in [0, 1] {
                let found = self.outcomes(half, address);
                let same = found.len() == {
                    let mut distinct: Vec<NextHop> = Vec::new();
                    for hop in &expected.outcomes {
                        if !distinct.contains(hop) {
                            distinct.push(*hop);
                        }
                    }
                    distinct.len()
                } && expected.outcomes.iter().all(|hop| found.contains(hop));
                assert!(same, "{address} in half {half}: {found:?}, not {:?}", expected.outcomes);
                let half = Half::new(self.fib.region(), half);
                let group = half.lookup(address.into());
                let believed = [0, 1].map(|adapter| half.believes(group, adapter));
                assert_eq!(believed, expected.believed, "packets from {address}");
            }
            let host = Ipv4Net::from(address);
            let claimed =
                self.told.get_lpm(&host).is_some_and(|(_, from)| *from != Ingresses::NONE);
            assert_eq!(claimed, expected.ours, "claim on {address}");
        }
        for (net, from) in &self.told {
            let around = net.supernet().and_then(|around| self.told.get_lpm(&around));
            let around = around.map_or(Ingresses::NONE, |(_, from)| *from);
            assert_ne!(*from, around, "{net} idle");
        }
        let local: BTreeSet<Ipv4Addr> = self
            .table
            .painted()
            .iter()
            .filter(|(net, entry)| {
                net.prefix_len() == 32 && *entry.target() == Target::Kernel(Reason::Local)
            })
            .map(|(net, _)| net.addr())
            .collect();
        assert_eq!(self.addresses, local);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn lookup_and_claims_follow_any_history(
        batches in prop::collection::vec(prop::collection::vec(step(), 1..6), 1..10)
    ) {
        let mut host = Host::new();
        ordinary().into_iter().for_each(|change| drop(host.apply(change)));
        host.check();
        for batch in batches {
            let mut dirty = Dirty::default();
            for step in batch {
                if let Some(change) = step.change(&mut host.state) {
                    host.state.apply(change, &mut dirty);
                }
            }
            host.follow(&dirty);
            host.check();
        }
    }

    #[test]
    fn a_resynchronised_table_is_the_same_as_one_that_followed(
        steps in prop::collection::vec(step(), 1..40)
    ) {
        let mut host = Host::new();
        let mut next = KernelState::default();
        for change in ordinary() {
            next.apply(change, &mut Dirty::default());
        }
        host.state = next.clone();
        let rib = Rib { state: &host.state, ours: &host.ours };
        let update = host.table.build(rib);
        host.carry_out(&update);
        host.check();
        for step in steps {
            if let Some(change) = step.change(&mut next) {
                next.apply(change, &mut Dirty::default());
            }
        }
        let dirty = host.state.replace(next);
        host.follow(&dirty);
        host.check();
        let rib = Rib { state: &host.state, ours: &host.ours };
        let again = host.table.build(rib);
        prop_assert_eq!(again, Update::default(), "nothing is left to do");
    }
}

fn up(index: u32) -> Change {
    let last = u8::try_from(index).expect("small");
    Change::Link(
        index,
        Some(crate::netlink::state::Link {
            name: format!("if{index}"),
            mac: Some([2, 0, 0, 0, 0, last]),
            mtu: 1500,
            up: true,
            carrier: true,
            ..Default::default()
        }),
    )
}

fn neighbour(last: u8, mac: u8, state: u16) -> Change {
    let known = Neighbour { mac: Some([6, 0, 0, 0, 0, mac]), state };
    Change::Neighbour(IpAddr::from([10, 1, 0, last]), 2, Some(known))
}

fn route(hops: &[(u32, Option<u8>)]) -> Route {
    let hops = hops
        .iter()
        .map(|(interface, gateway)| Hop {
            interface: *interface,
            gateway: gateway.map(|last| IpAddr::from([10, 1, 0, last])),
            weight: 1,
            foreign: false,
            dead: false,
        })
        .collect();
    let via = Via::Hops(hops);
    let origin = Origin::default();
    Route { table: 254, tos: 0, metric: 0, kind: RouteKind::Unicast, via, mtu: None, origin }
}

fn add(net: &str, route: Route) -> Change {
    Change::AddRoute(prefix(net), route, Placement::Replace)
}

const REACHABLE: u16 = crate::netlink::state::nud::REACHABLE;

fn with_default_route() -> Host {
    let mut host = Host::new();
    for change in [
        up(2),
        up(3),
        add("10.1.0.0/24", route(&[(2, None)])),
        neighbour(5, 1, REACHABLE),
        neighbour(7, 2, REACHABLE),
        add("0.0.0.0/0", route(&[(2, Some(5))])),
    ] {
        host.apply(change);
    }
    host.check();
    host
}

#[test]
fn a_changed_neighbour_is_one_operation_however_many_routes_lead_over_it() {
    let mut host = with_default_route();
    for third in 0..100 {
        host.apply(add(&format!("10.7.{third}.0/24"), route(&[(2, Some(5))])));
    }
    let operations = host.apply(neighbour(5, 9, REACHABLE));
    // Twice the same neighbour: as the gateway, and as a machine on the link.
    assert!(operations.iter().all(|op| matches!(op, Operation::SetNextHop(..))), "{operations:?}");
    assert!(operations.len() <= 2, "{operations:?}");
    host.check();
}

#[test]
fn a_prefix_with_a_group_of_its_own_is_redirected_without_painting() {
    let mut host = with_default_route();
    host.apply(add("10.7.0.0/16", route(&[(2, Some(5)), (3, Some(7))])));
    let operations = host.apply(add("10.7.0.0/16", route(&[(2, Some(7)), (3, Some(5))])));
    assert!(!operations.iter().any(|op| matches!(op, Operation::Paint(..))), "{operations:?}");
    host.check();
}

#[test]
fn a_link_that_goes_down_is_unresolved_in_the_same_batch() {
    let mut host = with_default_route();
    let Change::Link(index, Some(mut link)) = up(2) else { unreachable!() };
    link.carrier = false;
    let operations = host.apply(Change::Link(index, Some(link)));
    assert!(!operations.iter().any(|op| matches!(op, Operation::Paint(..))), "{operations:?}");
    let unresolved = NextHop::without_way(Action::Kernel(Reason::Unresolved));
    for half in [0, 1] {
        assert_eq!(host.outcomes(half, Ipv4Addr::new(8, 8, 8, 8)), [unresolved]);
    }
}

#[test]
fn a_dead_hop_of_a_multipath_route_takes_no_packets() {
    let mut host = with_default_route();
    host.apply(add("10.7.0.0/16", route(&[(2, Some(5)), (3, Some(7))])));
    let Change::Link(index, Some(mut link)) = up(3) else { unreachable!() };
    link.up = false;
    host.apply(Change::Link(index, Some(link)));
    let outcomes = host.outcomes(0, Ipv4Addr::new(10, 7, 0, 1));
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0].action, Action::Forward);
}

#[test]
fn prefixes_without_numbers_left_are_the_kernels() {
    let mut host = Host::new();
    host.table = Table::new(FIRST_GROUP + 1, NEXT_HOPS);
    for change in [up(2), neighbour(5, 1, REACHABLE), neighbour(7, 2, REACHABLE)] {
        host.apply(change);
    }
    host.apply(add("10.7.0.0/16", route(&[(2, Some(5))])));
    host.apply(add("10.8.0.0/16", route(&[(2, Some(7))])));
    assert_eq!(host.table.unrepresented(), 1);
    let lost = host.outcomes(0, Ipv4Addr::new(10, 8, 0, 1));
    assert_eq!(lost, [NextHop::NO_ROUTE]);
    assert!(host.claims([10, 7, 0, 1]));
    assert!(!host.claims([10, 8, 0, 1]), "the kernel would get it by a detour");
    // The numbers come back with the route that had them.
    host.apply(Change::RemoveRoute(prefix("10.7.0.0/16"), route(&[(2, Some(5))])));
    assert_eq!(host.table.unrepresented(), 0);
    assert_eq!(host.outcomes(0, Ipv4Addr::new(10, 8, 0, 1))[0].action, Action::Forward);
    assert!(host.claims([10, 8, 0, 1]));
    assert!(!host.claims([10, 7, 0, 1]));
}

#[test]
fn prefixes_without_next_hops_left_wait_for_one() {
    let mut host = Host::new();
    host.table = Table::new(GROUPS, FIRST_NEXT_HOP + 1);
    for change in [up(2), neighbour(7, 2, REACHABLE), add("10.7.0.0/16", route(&[(2, Some(5))]))] {
        host.apply(change);
    }
    host.apply(add("10.8.0.0/16", route(&[(2, Some(7))])));
    host.apply(add("10.9.0.0/16", route(&[(2, Some(7))])));
    assert_eq!(host.table.unrepresented(), 2);
    // Redirected, not removed: its next hop comes free all the same, and does not suffice for it.
    host.apply(add("10.7.0.0/16", route(&[(2, Some(7))])));
    assert_eq!(host.table.unrepresented(), 0);
    for second in [7, 8, 9] {
        assert!(host.claims([10, second, 0, 1]), "10.{second}.0.0/16");
    }
}

#[test]
fn a_starved_net_is_not_claimed_until_there_is_room() {
    let mut host = with_default_route();
    // One is taken by the neighbours.
    let nets: Vec<Ipv4Net> = (0..spine_fib::layout::TBL8S)
        .map(|n| prefix(&format!("20.{}.{}.128/25", n / 256, n % 256)))
        .collect();
    let mut dirty = Dirty::default();
    for net in &nets {
        let change = Change::AddRoute(*net, route(&[(2, Some(7))]), Placement::Replace);
        host.state.apply(change, &mut dirty);
    }
    host.follow(&dirty);
    assert_eq!(host.table.unrepresented(), 1);
    let [starved] = host.table.starved().iter().copied().collect::<Vec<_>>()[..] else {
        panic!("one starved /24")
    };
    let (low, high) = (starved.network().octets(), starved.broadcast().octets());
    assert!(!host.claims(low) && !host.claims(high), "not even the default route's part");
    assert!(host.claims([20, 0, 0, 200]) && host.claims([20, 0, 0, 1]));
    // Claims around it change; it stays the kernel's.
    host.apply(Change::RemoveRoute(prefix("0.0.0.0/0"), route(&[(2, Some(5))])));
    assert!(!host.claims(low) && !host.claims(high));
    host.apply(add("0.0.0.0/0", route(&[(2, Some(5))])));
    assert!(!host.claims(low) && !host.claims(high));

    host.apply(Change::RemoveRoute(prefix("20.0.0.128/25"), route(&[(2, Some(7))])));
    assert_eq!(host.table.unrepresented(), 0);
    assert!(host.claims(low) && host.claims(high));
    let by = |address: [u8; 4]| host.outcomes(1, address.into())[0].addresses.destination()[5];
    assert_eq!((by(low), by(high)), (1, 2), "the longer route has its own neighbour");
}

#[test]
fn a_multipath_route_is_claimed_only_if_all_its_hops_are_ours() {
    let mut host = with_default_route();
    let known = Neighbour { mac: Some([6, 0, 0, 0, 0, 7]), state: REACHABLE };
    host.apply(Change::Neighbour([10, 1, 0, 7].into(), 3, Some(known)));
    for (name, hops, ours) in [
        (
            "by either of two, so perhaps back to where it came from",
            [(2, Some(5)), (3, Some(7))],
            false,
        ),
        ("one elsewhere", [(2, Some(5)), (4, Some(7))], false),
        ("one straight onto the link", [(2, Some(5)), (3, None)], false),
    ] {
        host.apply(add("10.7.0.0/16", route(&hops)));
        assert_eq!(host.claims([10, 7, 0, 1]), ours, "{name}");
        host.check();
    }
    // A dead hop does not count, neither for nor against.
    let mut dying = route(&[(2, Some(5)), (4, Some(7))]);
    if let Via::Hops(hops) = &mut dying.via {
        hops[1].dead = true;
    }
    host.apply(add("10.7.0.0/16", dying));
    assert!(host.claims([10, 7, 0, 1]));
    host.check();
}

#[test]
fn what_would_be_left_to_the_kernel_packet_after_packet_is_not_claimed_until_it_changes() {
    use crate::netlink::state::nud::{FAILED, INCOMPLETE, STALE};
    let mut host = with_default_route();
    host.apply(add("10.7.0.0/16", route(&[(2, Some(5)), (2, Some(7))])));
    host.apply(add("10.8.0.0/16", route(&[(2, Some(7))])));
    for minds in [false, true] {
        host.state.sysctls.multipath_minds_neighbours = minds;
        host.follow(&Dirty { conf: true, ..Dirty::default() });
        // The neighbour's state, whether the route over it alone is ours, and the one over another as well.
        for (state, one, both) in [
            (REACHABLE, true, true),
            (FAILED, false, minds),
            (INCOMPLETE, false, minds),
            (STALE, true, true),
        ] {
            host.apply(neighbour(7, 2, state));
            let ours = [host.claims([10, 8, 0, 1]), host.claims([10, 7, 0, 1])];
            assert_eq!(ours, [one, both], "state {state:#x}, {minds}");
            host.check();
        }
        // Of one that is not known at all the kernel thinks well, and asks it.
        host.apply(Change::Neighbour([10, 1, 0, 7].into(), 2, None));
        assert!(!host.claims([10, 8, 0, 1]) && !host.claims([10, 7, 0, 1]), "{minds}");
        host.check();
    }
}

#[test]
fn packets_are_not_ours_from_the_interface_by_which_they_would_leave() {
    let mut host = with_default_route();
    let known = Neighbour { mac: Some([6, 0, 0, 0, 0, 7]), state: REACHABLE };
    host.apply(Change::Neighbour([10, 1, 0, 7].into(), 3, Some(known)));
    host.apply(add("10.7.0.0/16", route(&[(2, Some(5)), (3, Some(7))])));
    host.apply(add("10.8.0.0/16", Route { kind: RouteKind::Blackhole, ..route(&[]) }));
    for (net, ours) in [
        ("0.0.0.0/0", [false, true]),
        ("10.7.0.0/16", [false, false]),
        ("10.8.0.0/16", [true, true]),
    ] {
        let entry = host.table.painted().get(&prefix(net)).expect("painted");
        assert_eq!(OURS.map(|ingress| entry.ours_from(ingress)), ours, "{net}");
    }
}

#[test]
fn more_prefixes_than_are_worth_it_are_not_withdrawn_together() {
    let mut host = with_default_route();
    host.apply(Change::RemoveRoute(prefix("0.0.0.0/0"), route(&[(2, Some(5))])));
    let mut dirty = Dirty::default();
    for number in 0..=WITHDRAWN {
        let net = prefix(&format!("20.{}.{}.0/24", number / 256, number % 256));
        let change = Change::AddRoute(net, route(&[(2, Some(7))]), Placement::Replace);
        host.state.apply(change, &mut dirty);
    }
    host.follow(&dirty);
    let lost = neighbour(7, 2, crate::netlink::state::nud::FAILED);
    host.apply(lost.clone());
    assert!(host.claims([20, 0, 7, 1]), "the detour is cheaper");
    // Two less: the neighbour's own address leads over a next hop of its own.
    for third in [0, 1] {
        let net = prefix(&format!("20.0.{third}.0/24"));
        host.apply(Change::RemoveRoute(net, route(&[(2, Some(7))])));
    }
    host.apply(neighbour(7, 2, REACHABLE));
    assert!(host.claims([20, 0, 7, 1]));
    host.apply(lost);
    assert!(!host.claims([20, 0, 7, 1]));
}

#[test]
fn a_silent_adapter_is_named() {
    let mut fib = Fib::new(HeapRegion::new(), &[0], false);
    let mut adapters = vec![Echo::boxed(1)];
    let operations = [Operation::Paint(prefix("10.0.0.0/8"), GROUP_KERNEL)];
    assert!(fib.apply(&operations, &mut adapters).is_ok());
    let error = fib.apply(&operations, &mut adapters).expect_err("not willing");
    assert_eq!(error, FibError::Silent { name: "echo".to_owned(), sequence: 2 });
}

#[test]
fn settings_that_concern_no_route_change_nothing() {
    let mut host = with_default_route();
    host.state.conf.insert(2, Conf { forwarding: true, ..Conf::default() });
    let operations = host.follow(&Dirty { conf: true, ..Dirty::default() });
    assert_eq!(operations, []);
}
