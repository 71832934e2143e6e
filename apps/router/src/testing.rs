//! What several tests need: a region on the heap, an adapter that only acknowledges, and random
//! histories of a kernel. And, below it, the tests that have a real kernel before them, in a namespace.

mod mirror;
mod policy;
pub(crate) mod support;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::Ipv4Net;
use proptest::prelude::*;
use spine_abi::{Endpoint, Message};
use spine_fib::protocol::{SWAP, SWAPPED};
use spine_fib::{Load, Store, layout};

use crate::adapters::{Adapter, AdapterError, AdapterStatistics};
use crate::netlink::state::{
    CONF_ALL, Change, ConfChange, Hop, Link, Neighbour, NextHopObject, Origin, Placement, Route,
    RouteKind, Rule, RuleAction, TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN, Via, nud,
};

/// A region of zeroes.
pub(crate) struct HeapRegion(Box<[Cell<u32>]>);

impl HeapRegion {
    pub(crate) fn new() -> Self {
        Self::of(layout::REGION_BYTES)
    }

    pub(crate) fn of(bytes: usize) -> Self {
        Self((0..bytes / 4).map(|_| Cell::new(0)).collect())
    }

    fn set(&self, offset: usize, mask: u32, value: u32) {
        let word = &self.0[offset / 4];
        let shift = offset % 4 * 8;
        word.set(word.get() & !(mask << shift) | (value << shift));
    }
}

impl Load for HeapRegion {
    fn u8_at(&self, offset: usize) -> u8 {
        self.0[offset / 4].get().to_le_bytes()[offset % 4]
    }
    fn u16_at(&self, offset: usize) -> u16 {
        u16::from_le_bytes([self.u8_at(offset), self.u8_at(offset + 1)])
    }
    fn u32_at(&self, offset: usize) -> u32 {
        self.0[offset / 4].get()
    }
}

impl Store for HeapRegion {
    fn set_u8(&self, offset: usize, value: u8) {
        self.set(offset, 0xff, value.into());
    }
    fn set_u16(&self, offset: usize, value: u16) {
        self.set(offset, 0xffff, value.into());
    }
    fn set_u32(&self, offset: usize, value: u32) {
        self.0[offset / 4].set(value);
    }
}

/// Acknowledges what it is told, as often as it is willing to.
pub(crate) struct Echo {
    pub(crate) willing: usize,
    pub(crate) waiting: Vec<Message>,
}

impl Echo {
    pub(crate) fn boxed(willing: usize) -> Box<dyn Adapter> {
        Box::new(Self { willing, waiting: Vec::new() })
    }
}

impl Adapter for Echo {
    fn name(&self) -> &str {
        "echo"
    }
    fn send(&mut self, message: Message) -> Result<(), AdapterError> {
        assert_eq!(message.header().handler, SWAP);
        if self.willing > 0 {
            self.willing -= 1;
            self.waiting.push(Message::small(SWAPPED, Endpoint::Network, message.arguments()));
        }
        Ok(())
    }
    fn receive(&mut self, _: Duration) -> Result<Option<Message>, AdapterError> {
        Ok(self.waiting.pop())
    }
    fn statistics(&self) -> Result<AdapterStatistics, AdapterError> {
        Ok(AdapterStatistics::default())
    }
}

pub(crate) fn prefix(text: &str) -> Ipv4Net {
    text.parse().expect("a prefix")
}

/// The prefixes that random histories are about: nested, at the edges of the table's levels.
pub(crate) const PREFIXES: &[&str] = &[
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.1.0.0/23",
    "10.1.0.0/24",
    "10.1.0.128/25",
    "10.1.0.4/30",
    "10.1.0.5/32",
    "10.1.0.7/32",
    "10.1.0.255/32",
    "10.1.1.0/24",
    "10.1.1.64/26",
];

/// The addresses that are looked up: in, beside and at the edges of those prefixes.
pub(crate) fn addresses() -> Vec<Ipv4Addr> {
    let mut all: Vec<Ipv4Addr> = PREFIXES
        .iter()
        .map(|text| prefix(text))
        .flat_map(|net| [net.network(), net.broadcast()])
        .collect();
    all.extend(NEIGHBOURS);
    all.extend(
        [[10, 1, 0, 100], [10, 1, 0, 130], [10, 1, 2, 0], [11, 0, 0, 0]].map(Ipv4Addr::from),
    );
    all.extend(
        PREFIXES
            .iter()
            .map(|text| prefix(text))
            .filter_map(|net| u32::from(net.broadcast()).checked_add(1).map(Ipv4Addr::from)),
    );
    all.sort_unstable();
    all.dedup();
    all
}

/// Neighbours, which are gateways as well.
pub(crate) const NEIGHBOURS: [Ipv4Addr; 4] = [
    Ipv4Addr::new(10, 1, 0, 5),
    Ipv4Addr::new(10, 1, 0, 7),
    Ipv4Addr::new(10, 1, 0, 9),
    Ipv4Addr::new(10, 1, 1, 70),
];

/// A gateway whose address is of the other family.
const OTHER_FAMILY: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 7);

fn gateways() -> Vec<IpAddr> {
    NEIGHBOURS.map(IpAddr::from).into_iter().chain([OTHER_FAMILY.into()]).collect()
}

/// Interfaces 2 and 3 are ours, 1 and 4 are not.
pub(crate) const OURS: [u32; 2] = [2, 3];

/// A table that only rules of one's own lead to.
const OWN_TABLE: u32 = 52;

/// The rules of a namespace, mostly those it started with and a few more.
fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let action = prop_oneof![
        6 => Just(RuleAction::Table(OWN_TABLE)),
        2 => Just(RuleAction::Table(TABLE_MAIN)),
        1 => (1_u32..8).prop_map(RuleAction::Goto),
        1 => Just(RuleAction::Nothing),
        1 => Just(RuleAction::End(RouteKind::Blackhole)),
        1 => Just(RuleAction::End(RouteKind::Prohibit)),
    ];
    let narrow = prop::option::weighted(0.3, net());
    let rule = (1_u32..8, action, narrow, prop::option::weighted(0.3, 0_u32..25), 0_u8..16);
    let rule = rule.prop_map(|(preference, action, to, longer_than, more)| Rule {
        preference,
        action,
        destination: to.unwrap_or_default(),
        longer_than,
        inverted: more & 3 == 3,
        mark: u32::from(more == 4),
        mask: u32::from(more == 4 || more == 7),
        ingress: (more == 5 || more == 11).then(|| "if4".to_owned()),
        source: prefix(if more == 6 { "192.0.2.0/24" } else { "0.0.0.0/0" }),
        ..Rule::lookup(0, 0)
    });
    (prop::collection::vec(rule, 0..4), prop::bool::weighted(0.9)).prop_map(|(mut all, local)| {
        let mut usual = Rule::defaults();
        if !local {
            usual[0].preference = 5;
        }
        all.extend(usual);
        all.sort_by_key(|rule| rule.preference);
        all
    })
}

fn link() -> impl Strategy<Value = Change> {
    (1_u32..5, prop::bool::weighted(0.85), prop::bool::weighted(0.85), 0_u8..3, 1400_u32..1500)
        .prop_map(|(index, up, carrier, mac, mtu)| {
            let mac = Some([2, 0, 0, 0, mac, u8::try_from(index).unwrap_or(0)]);
            let name = format!("if{index}");
            let link = Link { name, mac, mtu, up, carrier, ..Link::default() };
            Change::Link(index, Some(link))
        })
}

fn hop() -> impl Strategy<Value = Hop> {
    let gateway = prop::option::weighted(0.6, prop::sample::select(gateways()));
    (
        prop::sample::select(vec![2_u32, 2, 3, 3, 1, 4]),
        gateway,
        1_u32..4,
        prop::bool::weighted(0.05),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(interface, gateway, weight, foreign, dead)| Hop {
            interface,
            gateway,
            weight,
            foreign,
            dead,
        })
}

fn route() -> impl Strategy<Value = Route> {
    // Mostly the ordinary: a wide local route, for one, hides everything below it.
    let table = prop_oneof![
        12 => Just(TABLE_MAIN),
        1 => Just(TABLE_LOCAL),
        2 => Just(TABLE_DEFAULT),
        3 => Just(OWN_TABLE),
    ];
    let special = prop::sample::select(vec![
        RouteKind::Local,
        RouteKind::Broadcast,
        RouteKind::Blackhole,
        RouteKind::Unreachable,
        RouteKind::Prohibit,
        RouteKind::Throw,
        RouteKind::Other,
    ]);
    let kind = prop_oneof![4 => Just(RouteKind::Unicast), 1 => special];
    let via = prop_oneof![
        4 => hop().prop_map(|hop| Via::Hops(vec![hop])),
        2 => prop::collection::vec(hop(), 2..4).prop_map(Via::Hops),
        1 => (1_u32..5).prop_map(Via::Object),
    ];
    let tos = prop_oneof![15 => Just(0_u8), 1 => Just(8)];
    let mtu = prop::option::weighted(0.2, 1000_u32..2000);
    (table, tos, 0_u32..3, kind, via, mtu).prop_map(|(table, tos, metric, kind, via, mtu)| Route {
        table,
        tos,
        metric,
        kind,
        via,
        mtu,
        origin: Origin::default(),
    })
}

fn object() -> impl Strategy<Value = Option<NextHopObject>> {
    prop_oneof![
        4 => hop().prop_map(|hop| Some(NextHopObject::Single(hop))),
        1 => Just(Some(NextHopObject::Blackhole)),
        2 => prop::collection::vec((1_u32..5, 1_u32..4), 1..3)
            .prop_map(|members| Some(NextHopObject::Group(members))),
        1 => Just(None),
    ]
}

fn neighbour() -> impl Strategy<Value = Change> {
    let state = prop::sample::select(vec![
        nud::REACHABLE,
        nud::STALE,
        nud::PERMANENT,
        nud::FAILED,
        nud::INCOMPLETE,
    ]);
    let there = (prop::option::weighted(0.9, 0_u8..3), state)
        .prop_map(|(mac, state)| Neighbour { mac: mac.map(|last| [6, 0, 0, 0, 0, last]), state });
    let address = prop::sample::select(gateways());
    (address, 1_u32..4, prop::option::weighted(0.85, there))
        .prop_map(|(address, interface, there)| Change::Neighbour(address, interface, there))
}

fn net() -> impl Strategy<Value = Ipv4Net> {
    prop::sample::select(PREFIXES.to_vec()).prop_map(prefix)
}

/// Where random histories begin: a router with neighbours on two connected networks.
pub(crate) fn ordinary() -> Vec<Change> {
    let connected = |interface| Route {
        table: TABLE_MAIN,
        tos: 0,
        metric: 0,
        kind: RouteKind::Unicast,
        via: Via::Hops(vec![Hop {
            interface,
            gateway: None,
            weight: 1,
            foreign: false,
            dead: false,
        }]),
        mtu: None,
        origin: Origin::default(),
    };
    let link = |index: u8| {
        let mac = Some([2, 0, 0, 0, 0, index]);
        let name = format!("if{index}");
        let link = Link { name, mac, mtu: 1500, up: true, carrier: true, ..Link::default() };
        Change::Link(index.into(), Some(link))
    };
    let mut changes: Vec<Change> = (1..5).map(link).collect();
    for (net, interface) in [("10.1.0.0/24", 2), ("10.1.1.0/24", 3)] {
        changes.push(Change::AddRoute(prefix(net), connected(interface), Placement::Last));
    }
    changes.extend(NEIGHBOURS.map(|address| {
        let [.., third, last] = address.octets();
        let known = Neighbour { mac: Some([6, 0, 0, 0, 9, last]), state: nud::REACHABLE };
        Change::Neighbour(address.into(), 2 + u32::from(third), Some(known))
    }));
    changes
}

/// One random step of a kernel.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    let placement =
        prop::sample::select(vec![Placement::First, Placement::Last, Placement::Replace]);
    let conf = (1_i32..5, any::<bool>()).prop_map(|(interface, ignore)| {
        let change = ConfChange { ignore_linkdown: Some(ignore), ..ConfChange::default() };
        Change::Conf(interface, change)
    });
    let filter = (prop::sample::select(vec![2, 2, 3, 3, CONF_ALL]), 0_u32..3);
    let filter = filter.prop_map(|(interface, filter)| {
        let change = ConfChange { rp_filter: Some(filter), ..ConfChange::default() };
        Change::Conf(interface, change)
    });
    prop_oneof![
        8 => (net(), route(), placement).prop_map(|(net, route, placement)| {
            Step::Change(Change::AddRoute(net, route, placement))
        }),
        4 => (net(), any::<prop::sample::Index>()).prop_map(|(net, which)| Step::Forget(net, which)),
        4 => neighbour().prop_map(Step::Change),
        2 => link().prop_map(Step::Change),
        1 => (1_u32..5).prop_map(|index| Step::Change(Change::Link(index, None))),
        2 => (1_u32..5, object()).prop_map(|(id, object)| Step::Change(Change::NextHop(id, object))),
        1 => conf.prop_map(Step::Change),
        1 => filter.prop_map(Step::Change),
        2 => rules().prop_map(Step::Rules),
        1 => any::<bool>().prop_map(Step::MindNeighbours),
    ]
}

/// A step that makes sense in any state.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// This.
    Change(Change),
    /// One of the routes of a prefix goes, if it has any.
    Forget(Ipv4Net, prop::sample::Index),
    /// The rules are these now.
    Rules(Vec<Rule>),
    /// The setting.
    MindNeighbours(bool),
}

impl Step {
    /// The change, or none where it is made at once: what is read as a whole.
    pub(crate) fn change(self, state: &mut crate::netlink::KernelState) -> Option<Change> {
        match self {
            Self::MindNeighbours(on) => {
                state.sysctls.multipath_minds_neighbours = on;
                None
            }
            Self::Rules(rules) => {
                state.rules = rules;
                None
            }
            Self::Change(change) => Some(change),
            Self::Forget(net, which) => {
                let route = which.get(state.routes.get(&net)?.as_slice()).clone();
                Some(Change::RemoveRoute(net, route))
            }
        }
    }
}
