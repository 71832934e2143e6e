//! What rules keep of a packet's way, without a kernel that has them.

use std::collections::{BTreeMap, BTreeSet};

use netlink_sys::protocols::NETLINK_ROUTE;
use spine_fib::Addresses as MacAddresses;
use spine_nic::layer::tap::TapSwitch;
use spine_nic::netlink::socket::NetlinkSocket;
use spine_rules::Kept;

use super::*;
use crate::claims::{Claims, Whose};
use crate::interfaces::Interfaces;
use crate::netlink::KernelState;
use crate::netlink::state::{
    Change, Dirty, Hop, Link, Neighbour, Origin, Placement, Route, RouteKind, TABLE_MAIN, Via, nud,
};
use crate::ownership::{Ownership, Reach};
use crate::path::PathError;
use crate::policy;
use crate::rib::Rib;
use crate::table::Table;

const REACH: Reach = Reach { destinations: true, sets: 32 };

/// A data path of veths that counted nothing.
struct Nothing;

impl Facts for Nothing {
    fn classified(&self) -> Result<BTreeMap<String, u64>, PathError> {
        Ok(BTreeMap::new())
    }
    fn kept(&self) -> Result<BTreeMap<String, u64>, PathError> {
        Ok(BTreeMap::new())
    }
    fn refused(&self) -> u64 {
        0
    }
    fn syscalls(&self) -> u64 {
        0
    }
    fn taps(&self) -> &[TapSwitch] {
        &[]
    }
    fn frame_bytes(&self) -> u64 {
        0
    }
    fn leaves_checksums_undone(&self, _adapter: usize) -> bool {
        true
    }
    fn longest(&self, _adapter: usize) -> Option<u32> {
        Some(2014)
    }
}

/// 10.50.0.0/16 over 10.9.2.2, which is resolved, out by `wan`.
fn state() -> KernelState {
    let mut state = KernelState::default();
    for (index, name) in [(2, "lan"), (3, "wan")] {
        let link = Link {
            name: name.to_owned(),
            mac: Some([2; 6]),
            mtu: 1500,
            up: true,
            carrier: true,
            ..Link::default()
        };
        state.links.insert(index, link);
    }
    let gateway = Ipv4Addr::new(10, 9, 2, 2);
    let resolved = Neighbour { mac: Some([4; 6]), state: nud::REACHABLE };
    state.neighbours.insert((gateway.into(), 3), resolved);
    let hop =
        Hop { interface: 3, gateway: Some(gateway.into()), weight: 1, foreign: false, dead: false };
    let route = Route {
        table: TABLE_MAIN,
        tos: 0,
        metric: 0,
        kind: RouteKind::Unicast,
        via: Via::Hops(vec![hop]),
        mtu: None,
        origin: Origin::default(),
    };
    let prefix = "10.50.0.0/16".parse().expect("a prefix");
    state.apply(Change::AddRoute(prefix, route, Placement::Last), &mut Dirty::default());
    state
}

/// Explains packets where these sets are kept.
fn with_kept(sets: &[(Packets, &str)], packets: &[&str]) -> Vec<Explanation> {
    let state = state();
    let ours = Interfaces::new(vec![2, 3]);
    let mut table = Table::new(64, 64);
    let update = table.build(Rib { state: &state, ours: &ours });
    let found: Vec<policy::Found> = sets
        .iter()
        .map(|(packets, why)| policy::Found {
            ingress: None,
            egress: None,
            kept: Kept { packets: *packets, why: (*why).to_owned() },
        })
        .collect();
    let ownership = Ownership::of(2, REACH, &found);
    let mut claims = Claims::new();
    let whose = Whose { table: &table, ours: &ours, ownership: &ownership };
    claims.update(whose, &update.changed, &BTreeSet::new());
    let addresses = MacAddresses::new([4; 6], [2; 6]);
    let look_up =
        |_: Ipv4Addr, _: u32| NextHop { action: Action::Forward, peer: 1, mtu: 1500, addresses };
    let names = ["lan", "wan"].map(str::to_owned);
    let mut requests = NetlinkSocket::open(NETLINK_ROUTE).expect("a socket");
    let mut view = View {
        state: &state,
        requests: &mut requests,
        table: &table,
        ours: &ours,
        names: &names,
        ownership: &ownership,
        claims: &claims,
        reach: REACH,
        enabled: vec![true, true],
        forwarding: &[true, true],
        bypassed: &BTreeSet::new(),
        noted: &BTreeSet::new(),
        reasons: &BTreeSet::new(),
        most_unrepresented: 0,
        adapters: &[],
        look_up: &look_up,
        believes: &|source, adapter| adapter != 0 || source != Ipv4Addr::new(10, 9, 66, 6),
    };
    let explain = |packet: &&str| explain(&packet.parse().expect("a packet"), &mut view, &Nothing);
    packets.iter().map(explain).collect()
}

#[test]
fn a_set_keeps_what_is_in_it_and_is_named() {
    let all = Packets::all(Family::V4);
    let https = Packets {
        protocols: Protocols::one(6),
        source: Addresses::prefix(Family::V4, 0x0a09_0100, 24),
        destination_ports: Ports::one(443),
        ..all
    };
    let pings = Packets { protocols: Protocols::one(1), source_ports: Ports::one(8), ..all };
    let sets = [(https, "chain f: tcp dport 443"), (pings, "chain f: ping")];
    let cases = [
        ("iif=lan 10.9.1.2 > 10.50.1.1 tcp 443", Some("chain f: tcp dport 443")),
        ("iif=lan 10.9.1.2 > 10.50.1.1 tcp 80", None),
        ("iif=lan 10.9.1.2 > 10.50.1.1 udp 443", None),
        ("iif=lan 10.9.7.2 > 10.50.1.1 tcp 443", None),
        // A piece has no ports, so it may be one.
        ("iif=lan 10.9.1.2 > 10.50.1.1 tcp fragment", Some("chain f: tcp dport 443")),
        ("iif=lan 10.9.1.2 > 10.50.1.1 icmp 8", Some("chain f: ping")),
        ("iif=lan 10.9.1.2 > 10.50.1.1 icmp 0", None),
        ("iif=lan 10.9.1.2 > 10.50.1.1 esp", None),
    ];
    let explained = with_kept(&sets, &cases.map(|(packet, _)| packet));
    for ((packet, rule), explanation) in cases.iter().zip(explained) {
        match rule {
            None => {
                assert_eq!(explanation.owner, Owner::Adapters, "{packet}: {explanation:?}");
                assert_eq!(explanation.leaves_by.as_deref(), Some("wan"), "{packet}");
                let route = explanation.route.expect("a route");
                assert_eq!(route.next_hop, Some(Ipv4Addr::new(10, 9, 2, 2).into()));
                assert_eq!(
                    route.neighbour.as_deref(),
                    Some("on wan, 04:04:04:04:04:04, reachable")
                );
            }
            Some(rule) => {
                assert_eq!(explanation.owner, Owner::Kernel, "{packet}: {explanation:?}");
                assert_eq!(explanation.reason, "kept_by_rules", "{packet}");
                assert!(explanation.rules[0].starts_with(rule), "{packet}: {explanation:?}");
                assert!(explanation.kernel.is_some(), "{packet}: the kernel is asked");
            }
        }
    }
}

#[test]
fn what_keeps_a_whole_way_is_named_for_each_packet_on_it() {
    let all = Packets::all(Family::V4);
    let packets = ["iif=lan 10.9.1.2 > 10.50.1.1 tcp 443", "iif=nope 10.9.1.2 > 10.50.1.1"];
    let explained = with_kept(&[(all, "chain f: policy drop")], &packets);
    assert_eq!(explained[0].owner, Owner::Kernel);
    assert_eq!(explained[0].rules, ["chain f: policy drop"]);
    let text = explained[0].to_string();
    for part in
        ["the kernel's, as it came", "by       chain f: policy drop", "10.50.0.0/16 to 10.9.2.2"]
    {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    assert_eq!(explained[1].why, "nope is none of the router's interfaces");
    assert_eq!(explained[1].kernel.as_deref(), Some("there is no interface nope (see `ip link`)"));
}

#[test]
fn a_source_that_is_not_believed_and_a_frame_that_is_too_long_are_the_kernels() {
    let packets = [
        "iif=lan 10.9.66.6 > 10.50.1.1 udp 9",
        "iif=lan 10.9.1.2 > 10.50.1.1 udp 9 len=2001",
        "iif=lan 10.9.1.2 > 10.50.1.1 udp 9 len=2000",
        "iif=wan 10.9.2.2 > 10.50.1.1 udp 9",
    ];
    let explained = with_kept(&[], &packets);
    let found: Vec<(Owner, &str)> =
        explained.iter().map(|one| (one.owner, one.reason.as_str())).collect();
    assert_eq!(
        found,
        [
            (Owner::KernelAfterAdapters, "reverse_path"),
            (Owner::Kernel, "too_long"),
            // Longer than the way out takes, and not than a frame.
            (Owner::KernelAfterAdapters, "too_big"),
            (Owner::Kernel, "not_ours"),
        ]
    );
    assert!(explained[3].why.starts_with("its way out is its way in"), "{:?}", explained[3]);
}
