//! The choice of tables and the check of sources: whatever `ip rule` and `rp_filter` say, packets end where the kernel
//! alone would have sent them, and those that arrive were carried by the adapters.
//!
//! In each set-up one packet from each of several sources goes to each of several destinations, first through the
//! kernel alone, then through the router.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use spine_tests::packet::{Port, Udp, numbered, sequence};
use spine_tests::{Link, Router, Topology, flow, need_namespaces};

const SOURCES: [[u8; 4]; 5] =
    [[10, 9, 1, 2], [10, 50, 0, 1], [10, 51, 0, 1], [10, 9, 2, 77], [192, 0, 2, 9]];
const DESTINATIONS: [[u8; 4]; 4] =
    [[198, 51, 100, 7], [203, 0, 113, 9], [203, 0, 113, 200], [10, 9, 3, 2]];
/// How long arrivals are waited for.
const ENOUGH: Duration = Duration::from_millis(400);

/// How long a change may take to be followed where others use the processor as well.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a packet went: source, destination, host.
type Ways = BTreeMap<(Ipv4Addr, Ipv4Addr), Vec<&'static str>>;

/// Sends every packet from the client, and says where each arrived.
fn ways(net: &Topology) -> Ways {
    let pairs: Vec<(Ipv4Addr, Ipv4Addr)> = SOURCES
        .iter()
        .flat_map(|from| DESTINATIONS.iter().map(|to| ((*from).into(), (*to).into())))
        .collect();
    let sender = Port::open(net.host("client"), "eth");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let listeners: Vec<_> = ["east", "west"]
            .into_iter()
            .map(|host| {
                let (port, done) = (Port::open(net.host(host), "eth"), &done);
                (host, scope.spawn(move || port.collect_until(done)))
            })
            .collect();
        for (number, (from, to)) in (0..).zip(&pairs) {
            let payload = numbered(number);
            let packet = Udp { from: *from, payload: &payload, ..flow::from_client(net, *to) };
            sender.send(&packet.frame());
        }
        std::thread::sleep(ENOUGH);
        done.store(true, Ordering::Release);
        let mut ways: Ways = pairs.iter().map(|pair| (*pair, Vec::new())).collect();
        for (host, listener) in listeners {
            for received in listener.join().expect("a listener does not panic") {
                let number = sequence(&received.frame).and_then(|at| usize::try_from(at).ok());
                let Some(pair) = number.and_then(|number| pairs.get(number)) else { continue };
                ways.entry(*pair).or_default().push(host);
            }
        }
        ways
    })
}

/// A client and two ways out, one for a prefix and one for all else.
fn topology() -> Topology {
    let net = Topology::star(&[
        Link::to("client", 1).silent(),
        Link::to("east", 2).silent(),
        Link::to("west", 3).silent(),
    ]);
    net.router().ip("route add 198.51.100.0/24 via 10.9.2.2");
    net.router().ip("route add default via 10.9.3.2");
    net
}

fn differences(kernel: &Ways, router: &Ways) -> Vec<String> {
    let differ = kernel.iter().filter(|(pair, hosts)| router.get(*pair) != Some(*hosts));
    differ
        .map(|((from, to), hosts)| {
            format!("{from} > {to}: {:?}, by the kernel {hosts:?}", router[&(*from, *to)])
        })
        .collect()
}

/// Name, commands, and how many of the packets arrive.
type Setup = (&'static str, &'static [&'static str], usize);

fn check(setups: &[Setup]) {
    let mut wrong = Vec::new();
    for (name, commands, arrive) in setups {
        let net = topology();
        for command in *commands {
            net.router().run(command);
        }
        let kernel = ways(&net);
        let arrived = kernel.values().map(Vec::len).sum::<usize>();
        if arrived != *arrive {
            wrong.push(format!("{name}: by the kernel {arrived} arrive, not {arrive}: {kernel:?}"));
        }
        let router = Router::start(net.router(), &net.interfaces());
        let through = ways(&net);
        let report = router.stop();
        wrong.extend(
            differences(&kernel, &through).into_iter().map(|text| format!("{name}: {text}")),
        );
        if usize::try_from(report.forwarded()) != Ok(arrived) {
            wrong.push(format!("{name}: {arrived} arrived, {} were carried", report.forwarded()));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn rules_for_all_packets_lead_them_as_the_kernel_does() {
    let _alone = need_namespaces!();
    check(&[
        ("no rules of one's own", &[], 20),
        (
            "a VPN that marks its own packets and has a table for all others",
            &[
                "ip rule add pref 5210 fwmark 0x80000/0xff0000 lookup main",
                "ip rule add pref 5230 fwmark 0x80000/0xff0000 lookup default",
                "ip rule add pref 5250 fwmark 0x80000/0xff0000 unreachable",
                "ip rule add pref 5270 lookup 52",
                "ip route add 203.0.113.0/25 via 10.9.2.2 table 52",
                "ip route add throw 198.51.100.0/24 table 52",
            ],
            20,
        ),
        (
            "a VPN that takes the default route",
            &[
                "ip rule add not fwmark 51820 lookup 51820",
                "ip rule add lookup main suppress_prefixlength 0",
                "ip route add default via 10.9.2.2 table 51820",
            ],
            20,
        ),
        (
            "a pod network that moves the local table and has a table for marked packets",
            &[
                "ip rule add fwmark 0x200/0xf00 lookup 2004 pref 9",
                "ip rule add pref 100 lookup local",
                "ip rule del pref 0",
                "ip route add local default dev lo table 2004",
            ],
            20,
        ),
        (
            "a table for one prefix, one for all but another",
            &[
                "ip rule add pref 10 to 203.0.113.128/25 lookup 100",
                "ip rule add pref 11 not to 198.51.100.0/24 lookup 101",
                "ip route add default via 10.9.2.2 table 100",
                "ip route add blackhole 203.0.113.0/25 table 101",
            ],
            15,
        ),
        (
            "answers without a route",
            &[
                "ip rule add pref 10 to 203.0.113.0/25 blackhole",
                "ip rule add pref 11 to 203.0.113.128/25 prohibit",
            ],
            10,
        ),
        (
            "a jump over a table, and the default table alone for the rest",
            &[
                "ip rule add pref 10 goto 30",
                "ip rule add pref 20 lookup 100",
                "ip rule add pref 30 nop",
                "ip route add blackhole default table 100",
                "ip route del default",
                "ip route add default via 10.9.2.2 table default",
            ],
            20,
        ),
        (
            "rules for interfaces that are not ours, and for sources with an empty table",
            &[
                "ip rule add pref 10 iif lo lookup 100",
                "ip rule add pref 11 oif east lookup 100",
                "ip rule add pref 12 from 10.50.0.0/16 lookup 101",
                "ip rule add pref 13 uidrange 1000-1000 lookup 100",
                "ip route add blackhole default table 100",
            ],
            20,
        ),
        ("no main table", &["ip rule del pref 32766"], 0),
    ]);
}

#[test]
fn rules_that_come_and_go_are_followed() {
    let _alone = need_namespaces!();
    let net = topology();
    net.router().run("ip route add default via 10.9.2.2 table 52");
    let router = Router::start(net.router(), &net.interfaces());
    for command in [
        "ip rule add pref 5270 lookup 52",
        "ip route add throw 203.0.113.0/24 table 52",
        "ip rule add pref 5270 to 203.0.113.128/25 blackhole",
        "ip rule del pref 5270 lookup 52",
        "ip route flush table 52",
        "ip rule del pref 5270",
    ] {
        net.router().run(command);
        let asked = asked(&net);
        follows(&net, &asked, command);
    }
    assert!(router.stop().forwarded() > 50);
}

/// The ways that the kernel says packets would go.
fn asked(net: &Topology) -> Ways {
    let way = |from: Ipv4Addr, to: Ipv4Addr| {
        let line = format!("ip route get {to} from {from} iif client");
        let said = net.router().try_run(&line, PATIENCE).stdout;
        let leads = |host: &&str| said.contains(&format!("dev {host} "));
        ((from, to), ["east", "west"].into_iter().filter(leads).collect())
    };
    let pairs = SOURCES.iter().flat_map(|from| DESTINATIONS.iter().map(move |to| (*from, *to)));
    pairs.map(|(from, to)| way(from.into(), to.into())).collect()
}

/// Waits until packets go these ways.
fn follows(net: &Topology, expected: &Ways, after: &str) {
    let start = Instant::now();
    loop {
        let wrong = differences(expected, &ways(net));
        if wrong.is_empty() {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "after `{after}`: {wrong:#?}");
    }
}

#[test]
fn next_hops_of_another_family_are_gone_by() {
    let _alone = need_namespaces!();
    check(&[(
        "one in a route, one in an object",
        &[
            "sysctl -qw net.ipv6.conf.east.disable_ipv6=0",
            "ip -6 neigh replace fe80::2 lladdr 02:00:00:09:02:02 dev east nud permanent",
            "ip route replace 198.51.100.0/24 via inet6 fe80::2 dev east",
            "ip nexthop add id 6 via fe80::2 dev east",
            "ip route add 203.0.113.0/25 nhid 6",
        ],
        20,
    )]);
}

/// A way whose neighbour is known not to answer.
const DEAD: &str = "ip neigh replace 10.9.3.9 dev west nud failed";

#[test]
fn flows_of_a_dead_member_take_a_living_one_where_the_kernel_minds() {
    let _alone = need_namespaces!();
    check(&[
        (
            "by the setting",
            &[
                DEAD,
                "sysctl -qw net.ipv4.fib_multipath_use_neigh=1",
                "ip route replace 198.51.100.0/24 nexthop via 10.9.2.2 nexthop via 10.9.3.9",
            ],
            20,
        ),
        (
            "of an object",
            &[
                DEAD,
                "ip nexthop add id 1 via 10.9.2.2 dev east",
                "ip nexthop add id 2 via 10.9.3.9 dev west",
                "ip nexthop add id 3 group 1/2",
                "ip route replace 198.51.100.0/24 nhid 3",
            ],
            20,
        ),
    ]);
}

#[test]
fn what_the_adapters_would_hand_over_is_left_alone_until_that_changes() {
    let _alone = need_namespaces!();
    let net = topology();
    net.router().run(DEAD);
    net.router().ip("route replace 198.51.100.0/24 nexthop via 10.9.2.2 nexthop via 10.9.3.9");
    let kernel = ways(&net);
    let router = Router::start(net.router(), &net.interfaces());
    let before = net.router().kernel_forwarded();
    let through = ways(&net);
    assert_eq!(differences(&kernel, &through), [""; 0], "the group is the kernel's");
    let by_kernel = net.router().kernel_forwarded() - before;
    assert_eq!(by_kernel, 5, "one flow from each source");
    net.router().run("ip neigh replace 10.9.3.9 lladdr 02:00:00:09:03:02 dev west nud permanent");
    let start = Instant::now();
    loop {
        let before = net.router().kernel_forwarded();
        let arrived = ways(&net).values().map(Vec::len).sum::<usize>();
        if arrived == 20 && net.router().kernel_forwarded() == before {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{arrived} arrived, some by the kernel");
    }
    let report = router.stop();
    assert_eq!(report.to_kernel(), 0, "{report:?}");
}

#[test]
fn sources_are_checked_as_the_kernel_checks_them() {
    let _alone = need_namespaces!();
    check(&[
        ("strict", &["sysctl -qw net.ipv4.conf.all.rp_filter=1"], 4),
        (
            "strict on the way in alone, with ways back by one route, by one of several, by a dead one",
            &[
                "sysctl -qw net.ipv4.conf.client.rp_filter=1",
                "ip route add 10.50.0.0/16 via 10.9.1.2",
                "ip route add 10.51.0.0/16 nexthop via 10.9.1.2 nexthop via 10.9.2.2",
                "ip route add blackhole 192.0.2.0/24",
            ],
            12,
        ),
        ("strict on another", &["sysctl -qw net.ipv4.conf.east.rp_filter=1"], 20),
        ("loose, with a default route", &["sysctl -qw net.ipv4.conf.all.rp_filter=2"], 20),
        (
            "loose, without a default route but with a hole",
            &[
                "sysctl -qw net.ipv4.conf.all.rp_filter=2",
                "ip route del default",
                "ip route add 203.0.113.0/24 via 10.9.3.2",
                "ip route add 10.50.0.0/16 via 10.9.2.2",
                "ip route add blackhole 10.50.0.0/24",
                "ip route add unreachable 10.51.0.0/24",
            ],
            8,
        ),
        (
            "loose on an interface that has no address: as if strict",
            &[
                "sysctl -qw net.ipv4.conf.client.rp_filter=2",
                "ip addr flush dev client",
                "ip route add 10.50.0.0/16 dev client",
            ],
            4,
        ),
        (
            "the higher of all and own: loose",
            &[
                "sysctl -qw net.ipv4.conf.all.rp_filter=1",
                "sysctl -qw net.ipv4.conf.client.rp_filter=2",
            ],
            20,
        ),
        (
            "strict, and the way back by a table of one's own",
            &[
                "sysctl -qw net.ipv4.conf.all.rp_filter=1",
                "ip rule add pref 10 lookup 52",
                "ip route add 10.50.0.0/16 via 10.9.1.2 table 52",
                "ip route add 10.9.1.0/24 via 10.9.2.2 table 52",
            ],
            4,
        ),
    ]);
}

#[test]
fn a_check_that_is_switched_on_and_off_is_followed() {
    let _alone = need_namespaces!();
    let net = topology();
    let router = Router::start(net.router(), &net.interfaces());
    for (setting, expected) in [("0", 20), ("1", 4), ("2", 20), ("1", 4), ("0", 20)] {
        net.router().sysctl("ipv4/conf/client/rp_filter", setting);
        let start = Instant::now();
        loop {
            let arrived = ways(&net).values().map(Vec::len).sum::<usize>();
            if arrived == expected {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "rp_filter {setting}: {arrived}, not {expected}");
        }
    }
    let dropped = reverse_path_drops(&net);
    let report = router.stop();
    assert!(dropped >= 32, "the kernel counts what it drops: {dropped}");
    let handed: u64 = report.counts("to_kernel_reasons").get("reverse_path").copied().unwrap_or(0);
    assert!(handed >= 32, "{report:?}");
    assert!(report.forwarded() >= 68, "all that arrived: {report:?}");
}

/// What the kernel's reverse-path filter has dropped in the router's namespace.
fn reverse_path_drops(net: &Topology) -> u64 {
    let counters = net.router().run("cat /proc/net/netstat");
    let mut lines = counters.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    let mut both = names.split_whitespace().zip(values.split_whitespace());
    let found = both.find(|(name, _)| *name == "IPReversePathFilter");
    found.and_then(|(_, value)| value.parse().ok()).expect("a counter of every kernel")
}
