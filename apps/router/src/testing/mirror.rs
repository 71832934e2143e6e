//! The mirror against a real kernel, in a network namespace.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::support::{in_namespace, run};
use crate::netlink::mirror::snapshot;
use crate::netlink::state::{
    Dirty, Hop, NextHopObject, Route, RouteKind, TABLE_DEFAULT, TABLE_LOCAL, Via, nud,
};
use crate::netlink::{KernelState, Mirror};
use netlink_sys::protocols::NETLINK_ROUTE;
use spine_nic::netlink::socket::NetlinkSocket;

/// Neighbours age by themselves; what they mean to us does not.
fn comparable(state: &KernelState) -> KernelState {
    let mut state = state.clone();
    state.neighbours.retain(|_, neighbour| neighbour.usable().is_some());
    state.neighbours.values_mut().for_each(|neighbour| neighbour.state = nud::REACHABLE);
    state
}

fn fresh() -> KernelState {
    let mut socket = NetlinkSocket::open(NETLINK_ROUTE).expect("a socket");
    comparable(&snapshot(&mut socket).expect("a snapshot"))
}

/// Follows the kernel until the mirror shows what a new snapshot shows, and says how long it took.
fn settle(mirror: &mut Mirror, after: &str) -> (Dirty, Duration) {
    let start = Instant::now();
    let mut touched = Dirty::default();
    loop {
        touched.merge(mirror.collect(Instant::now()).expect("notifications"));
        let (mirrored, kernel) = (comparable(mirror.state()), fresh());
        if mirrored == kernel {
            return (touched, start.elapsed());
        }
        assert!(
            start.elapsed() < Duration::from_secs(3),
            "after `{after}`:\nmirror {mirrored:#?}\nkernel {kernel:#?}"
        );
    }
}

#[test]
fn every_change_arrives_and_leaves_the_mirror_equal_to_a_new_snapshot() {
    in_namespace(|| {
        let mut mirror = Mirror::open().expect("a mirror");
        assert_eq!(comparable(mirror.state()), fresh());
        // A command, and whether it must touch a prefix.
        for (command, touches) in [
            ("ip route add 10.9.0.0/16 via 10.1.1.2", true),
            ("ip route add 10.9.0.0/16 via 10.1.1.3 metric 50", true),
            ("ip route append 10.9.0.0/16 via 10.1.1.4 metric 50", true),
            ("ip route prepend 10.9.0.0/16 via 10.1.1.5 metric 50", true),
            ("ip route replace 10.9.0.0/16 via 10.1.1.6 metric 50", true),
            ("ip route replace 10.9.0.0/16 via 10.1.1.9", true),
            ("ip route del 10.9.0.0/16 via 10.1.1.3 metric 50", true),
            ("ip route add 10.9.0.0/16 tos 0x10 via 10.1.1.2", true),
            ("ip route add default via 10.1.1.2 mtu 1400", true),
            ("ip route add 10.8.0.0/16 nexthop via 10.1.1.2 weight 3 nexthop via 10.1.1.3", true),
            ("ip route add blackhole 10.7.0.0/16", true),
            ("ip route add unreachable 10.7.1.0/24", true),
            ("ip route add prohibit 10.7.2.0/24", true),
            ("ip route add throw 10.7.3.0/24", true),
            ("ip route add 10.6.0.0/16 via 10.99.0.1 dev spa onlink", true),
            ("ip route add 10.6.1.0/24 via inet6 fe80::1 dev spa", true),
            ("ip route add 10.5.0.0/16 via 10.1.1.2 table 253", true),
            ("ip route add 10.5.0.0/16 via 10.1.1.2 table 77", true),
            ("ip rule add from 10.0.0.0/8 lookup 77", false),
            ("ip rule add pref 5 not fwmark 7 lookup main suppress_prefixlength 0", false),
            ("ip rule add pref 5 to 10.5.0.0/16 tos 8 goto 32766", false),
            ("ip rule add pref 5 iif spa ipproto tcp dport 25-26 prohibit", false),
            ("ip rule del pref 5", false),
            ("ip rule del lookup local", false),
            ("ip rule add pref 100 lookup local", false),
            ("ip neigh add fe80::9 lladdr 02:00:00:00:00:09 dev spa", false),
            ("ip nexthop add id 1 via 10.1.1.2 dev spa", false),
            ("ip nexthop add id 2 via 10.1.1.3 dev spa", false),
            ("ip nexthop add id 3 group 1,3/2,1", false),
            ("ip nexthop add id 4 blackhole", false),
            ("ip route add 10.4.0.0/16 nhid 3", true),
            ("ip route add 10.4.1.0/24 nhid 1", true),
            ("ip route add 10.4.2.0/24 nhid 4", true),
            ("ip nexthop replace id 1 via 10.1.1.7 dev spa", false),
            ("ip nexthop del id 2", false),
            ("ip nexthop del id 1", true),
            ("ip addr add 10.2.2.2/24 dev spb", true),
            ("ip addr add 10.1.1.11/32 dev spa", true),
            ("ip addr del 10.2.2.2/24 dev spb", true),
            ("ip neigh add 10.1.1.2 lladdr 02:00:00:00:00:02 dev spa", false),
            ("ip neigh replace 10.1.1.2 lladdr 02:00:00:00:00:03 dev spa", false),
            ("ip neigh del 10.1.1.2 dev spa", false),
            ("ip link set spa mtu 1300", false),
            ("ip link set spa address 02:00:00:00:00:0b", false),
            ("sysctl -qw net.ipv4.ip_forward=1", false),
            ("sysctl -qw net.ipv4.conf.spa.forwarding=0", false),
            ("sysctl -qw net.ipv4.conf.spa.rp_filter=1", false),
            ("sysctl -qw net.ipv4.conf.spa.ignore_routes_with_linkdown=1", false),
            ("ip link set spb down", false),
            ("ip link set spb up", false),
            ("ip link set spa down", true),
            ("ip link set spa up", true),
            ("ip route add 10.3.0.0/16 via 10.1.1.2", true),
            ("ip link set spa down && ip link set spa name spc", true),
            ("ip link del spb", false),
        ] {
            run(command);
            let (dirty, took) = settle(&mut mirror, command);
            if touches {
                assert!(!dirty.prefixes.is_empty(), "{command} touched no prefix");
            }
            assert!(took < Duration::from_millis(500), "{command} took {took:?}");
        }
    });
}

/// What the mirror has of a prefix within 500 ms, once it satisfies `wanted`; panics if it never does.
fn within_half_a_second(mirror: &mut Mirror, net: &str, wanted: impl Fn(&[Route]) -> bool) {
    let start = Instant::now();
    let net = net.parse().expect("a prefix");
    loop {
        mirror.collect(Instant::now()).expect("notifications");
        let routes = mirror.state().routes.get(&net).map_or(&[][..], Vec::as_slice);
        if wanted(routes) {
            return;
        }
        assert!(start.elapsed() < Duration::from_millis(500), "{net}: {routes:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn routes_over_an_interface_that_loses_its_last_address_disappear() {
    in_namespace(|| {
        run("ip addr add 10.2.2.1/24 dev spb");
        run("ip addr add 10.3.3.3/32 dev lo");
        run("ip route add 10.9.0.0/16 via 10.1.1.2");
        run("ip route add 10.8.0.0/16 nexthop via 10.1.1.2 nexthop via 10.1.1.3");
        run("ip route add 10.7.0.0/16 nexthop via 10.1.1.2 nexthop via 10.2.2.2");
        run("ip route add 10.6.0.0/16 via 10.2.2.2 src 10.3.3.3");
        let mut mirror = Mirror::open().expect("a mirror");
        let dead = |route: &Route| match &route.via {
            Via::Hops(hops) => hops.iter().map(|hop| hop.dead).collect(),
            Via::Object(_) => Vec::new(),
        };

        run("ip addr del 10.1.1.1/24 dev spa");
        within_half_a_second(&mut mirror, "10.9.0.0/16", <[Route]>::is_empty);
        within_half_a_second(&mut mirror, "10.8.0.0/16", <[Route]>::is_empty);
        within_half_a_second(&mut mirror, "10.7.0.0/16", |routes| {
            dead(&routes[0]) == [true, false]
        });
        settle(&mut mirror, "the last address of spa");

        run("ip addr add 10.1.1.1/24 dev spa");
        within_half_a_second(&mut mirror, "10.7.0.0/16", |routes| {
            dead(&routes[0]) == [false, false]
        });

        run("ip addr del 10.3.3.3/32 dev lo");
        within_half_a_second(&mut mirror, "10.6.0.0/16", <[Route]>::is_empty);
        settle(&mut mirror, "the source of a route");
    });
}

#[test]
fn routes_that_differ_only_in_who_made_them_are_told_apart() {
    in_namespace(|| {
        let mut mirror = Mirror::open().expect("a mirror");
        run("ip addr add 10.1.1.9/24 dev spa");
        for (one, other) in [
            ("via 10.1.1.2 proto static", "via 10.1.1.2 proto bird"),
            ("via 10.1.1.2 src 10.1.1.1", "via 10.1.1.2 src 10.1.1.9"),
            ("dev spa scope link", "dev spa scope global"),
        ] {
            for command in [
                format!("ip route add 10.9.0.0/16 {one}"),
                format!("ip route append 10.9.0.0/16 {other}"),
                format!("ip route del 10.9.0.0/16 {one}"),
            ] {
                run(&command);
                settle(&mut mirror, &command);
            }
            let left = mirror.state().routes.get(&"10.9.0.0/16".parse().expect("a prefix"));
            assert_eq!(left.map(Vec::len), Some(1), "{one} and {other}");
            run("ip route flush 10.9.0.0/16");
            settle(&mut mirror, "flush");
        }
    });
}

#[test]
fn what_is_read_is_what_was_configured() {
    in_namespace(|| {
        for command in [
            "ip route add 10.8.0.0/16 nexthop via 10.1.1.2 weight 3 nexthop via 10.1.1.3",
            "ip route add 10.7.0.0/16 via 10.1.1.2 metric 7 mtu 1400",
            "ip route add blackhole 10.6.0.0/16",
            "ip route add 10.5.0.0/16 via inet6 fe80::1 dev spa",
            "ip nexthop add id 9 via 10.1.1.4 dev spa",
            "ip nexthop add id 10 group 9,5",
            "ip route add 10.4.0.0/16 nhid 10 table 253",
            "ip neigh add 10.1.1.2 lladdr 02:00:00:00:00:02 dev spa",
            "ip rule add pref 5 not from 10.0.0.0/8 to 10.5.0.0/16 iif spa fwmark 0x1/0xff \
             ipproto tcp sport 7 dport 25-26 lookup 77 suppress_prefixlength 0",
            "ip rule add pref 6 tos 8 goto 32766",
            "ip rule add pref 7 oif spb uidrange 5-6 prohibit",
            "ip rule add pref 9 nop",
        ] {
            run(command);
        }
        let mirror = Mirror::open().expect("a mirror");
        let state = mirror.state();
        let rules: Vec<String> = state.rules.iter().map(ToString::to_string).collect();
        assert_eq!(
            rules,
            [
                "preference 0 lookup local",
                "preference 5 not from 10.0.0.0/8 to 10.5.0.0/16 iif spa fwmark 0x1/0xff ipproto 6 \
                 sport 7-7 dport 25-26 lookup 77 suppress_prefixlength 0",
                "preference 6 and more goto 32766",
                "preference 7 oif spb uidrange 5-6 prohibit",
                "preference 9 nop",
                "preference 32766 lookup main",
                "preference 32767 lookup default",
            ]
        );
        let (spa, link) = state.link_named("spa").expect("spa");
        assert_eq!(link.mac, Some([2, 0, 0, 0, 0, 0x0a]));
        assert_eq!((link.mtu, link.up, link.carrier), (1500, true, true));
        assert_eq!(link.kind.as_deref(), Some("veth"));

        let hop = |last, weight| Hop {
            interface: spa,
            gateway: Some(IpAddr::from([10, 1, 1, last])),
            weight,
            foreign: false,
            dead: false,
        };
        let only = |net: &str| {
            let routes = state.routes.get(&net.parse().expect("a prefix"));
            routes.and_then(|routes| routes.first()).unwrap_or_else(|| panic!("no {net}")).clone()
        };
        assert_eq!(only("10.8.0.0/16").via, Via::Hops(vec![hop(2, 3), hop(3, 1)]));
        let seven = only("10.7.0.0/16");
        assert_eq!((seven.metric, seven.mtu), (7, Some(1400)));
        assert_eq!(only("10.6.0.0/16").kind, RouteKind::Blackhole);
        let Via::Hops(six) = only("10.5.0.0/16").via else { panic!("no hops") };
        let over_ipv6 = (six[0].gateway, six[0].foreign);
        assert_eq!(over_ipv6, (Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into()), false));
        assert_eq!(only("10.4.0.0/16").via, Via::Object(10));
        assert_eq!(only("10.4.0.0/16").table, TABLE_DEFAULT);
        assert_eq!(state.nexthops.get(&9), Some(&NextHopObject::Single(hop(4, 1))));
        assert_eq!(state.nexthops.get(&10), Some(&NextHopObject::Group(vec![(9, 5)])));
        let local = only("10.1.1.1/32");
        assert_eq!((local.kind, local.table), (RouteKind::Local, TABLE_LOCAL));
        assert_eq!(only("10.1.1.255/32").kind, RouteKind::Broadcast);
        let neighbour = &state.neighbours[&(IpAddr::from([10, 1, 1, 2]), spa)];
        assert_eq!(neighbour.usable(), Some([2, 0, 0, 0, 0, 2]));
    });
}

#[test]
fn lost_notifications_are_made_good_by_a_new_dump() {
    in_namespace(|| {
        let mut mirror = Mirror::with_receive_buffer(1).expect("a mirror");
        let dumps = mirror.dumps;
        let batch: String = (0..2000)
            .map(|n| format!("route add 10.{}.{}.0/24 via 10.1.1.2\n", 100 + n / 250, n % 250))
            .collect();
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), batch).expect("written");
        run(&format!("ip -batch {}", file.path().display()));
        let (dirty, _) = settle(&mut mirror, "2000 routes");
        assert!(mirror.dumps > dumps, "nothing was lost: the test shows nothing");
        assert!(dirty.prefixes.len() >= 2000);
        assert!(dirty.policy, "a rule may have been among the lost");
    });
}

#[test]
fn a_quiet_kernel_touches_nothing() {
    in_namespace(|| {
        let mut mirror = Mirror::open().expect("a mirror");
        settle(&mut mirror, "start");
        let dirty = mirror.collect(Instant::now()).expect("notifications");
        assert!(dirty.is_empty(), "{dirty:?}");
    });
}
