//! What the kernel's rules keep from a carrier, and that it is enough.
//!
//! Each case is a rule set of a kind that people have. Two things are asked of what is said to be kept: that it is what the rules
//! say, and no more; and that the kernel does the same with it whether it sees the other packets or not. For the latter
//! the same packets are sent twice, through two kernels with the same rules: all of them, and only those that are kept. A
//! packet that is not kept must have arrived unchanged in the first, and one that is must fare the same in both.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use spine_headers::{ipv4 as header, udp};
use spine_packets::frames;
use spine_rules::{Family, Kept, Link, Purpose, Rules, Watch};
use spine_tests::need::say_skipped;
use spine_tests::packet::{Port, ip_packet};
use spine_tests::{Namespace, Topology, need_namespaces, need_virtual_interfaces};

const PATIENCE: Duration = Duration::from_secs(10);
/// A packet that the kernel drops is waited for this long, and at the end all together for [`LATE`].
const IN_VAIN: Duration = Duration::from_millis(20);
const LATE: Duration = Duration::from_millis(500);

/// How a rule set is loaded.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// A script of nft.
    Nft(&'static str),
    /// A command line.
    Run(&'static str),
}

use Rule::{Nft, Run};

struct Case {
    name: &'static str,
    rules: &'static [Rule],
    /// What is kept from client to server, as people read it.
    kept: &'static [&'static str],
}

/// Fragments, and ICMP errors: what connection tracking and translation keep in any case.
macro_rules! and {
    (tracked $(, $kept:literal)*) => { &["fragments" $(, $kept)*] };
    (translated $(, $kept:literal)*) => {
        &["fragments" $(, $kept)*, "icmp type 11-12", "icmp type 3-5"]
    };
}

const CASES: &[Case] = &[
    Case {
        name: "accepted by interface, the rest dropped",
        rules: &[Nft("table inet t { chain f {
            type filter hook forward priority 0; policy drop;
            iifname \"client\" accept; iifname \"serv*\" counter accept; }; }")],
        kept: &[],
    },
    Case {
        name: "a policy of drop alone",
        rules: &[Nft("table ip t { chain f {
            type filter hook forward priority 0; policy drop; iif lo accept; }; }")],
        kept: &["all"],
    },
    Case {
        name: "translation of a network, whatever interface it comes from",
        rules: &[Nft("table ip nat { chain post {
            type nat hook postrouting priority 100;
            ip saddr 172.17.0.0/16 oifname != \"docker0\" masquerade; }; }")],
        kept: and!(translated, "from 172.17.0.0/16", "to 172.17.0.0/16"),
    },
    Case {
        name: "a port led elsewhere",
        rules: &[Nft("table ip nat { chain pre {
            type nat hook prerouting priority -100;
            iifname \"client\" udp dport 8080 dnat to 10.9.2.2:53; }; }")],
        kept: &[
            "fragments",
            "icmp type 11-12",
            "icmp type 3-5",
            "udp from 10.9.2.2 from port 53",
            "udp to port 8080",
        ],
    },
    Case {
        name: "a port of the machine led to a host",
        rules: &[Nft("table ip nat {
            map to { type inet_proto . inet_service : ipv4_addr . inet_service;
                elements = { udp . 8081 : 10.9.2.2 . 53 }; }
            chain pre { type nat hook prerouting priority -100;
                fib daddr type local dnat ip to meta l4proto . th dport map @to; }; }")],
        kept: and!(translated, "udp from 10.9.2.2 from port 53"),
    },
    Case {
        name: "a port led elsewhere, address and port by maps of their own",
        rules: &[Nft("table ip nat { chain pre {
            type nat hook prerouting priority -100;
            dnat to udp dport map { 8080 : 10.9.2.2, 1005 : 10.9.2.3 } : udp dport map { 1005 : 53, 8080 : 9 }; }; }")],
        kept: and!(
            translated,
            "udp from 10.9.2.2/31 from port 9",
            "udp from 10.9.2.2/31 from port 53",
            "udp from port 1005",
            "udp from port 8080",
            "udp to port 1005",
            "udp to port 8080"
        ),
    },
    Case {
        name: "a source that becomes another",
        rules: &[Nft("table ip nat { chain post {
            type nat hook postrouting priority 100;
            snat to ip saddr map { 10.8.0.5 : 10.9.2.77 }; }; }")],
        kept: and!(translated, "from 10.8.0.5", "to 10.8.0.5", "to 10.9.2.77"),
    },
    Case {
        name: "established in, anything out",
        rules: &[Nft("table inet fw { chain f {
            type filter hook forward priority 0; policy drop;
            ct state established,related accept; iifname \"client\" accept; }; }")],
        kept: &["all"],
    },
    Case {
        name: "everything but what is invalid",
        rules: &[Nft("table inet fw { chain f {
            type filter hook forward priority 10;
            ct state invalid drop; iifname { \"client\", \"server\" } accept; }; }")],
        kept: &["all"],
    },
    Case {
        name: "tracking that no packet on the way meets",
        rules: &[Nft("table inet fw {
            chain unused { ct state new accept; }
            chain in { type filter hook input priority 0; policy drop; iif lo accept; }; }")],
        kept: and!(tracked),
    },
    Case {
        name: "nothing tracked, one network dropped",
        rules: &[Nft("table ip t {
            set bad { type ipv4_addr; flags interval; elements = { 10.8.0.0/24, 10.8.2.0-10.8.3.7 }; }
            chain f { type filter hook forward priority 0; ip saddr @bad drop; }; }")],
        kept: &["from 10.8.0.0/24", "from 10.8.2.0-10.8.3.7"],
    },
    Case {
        name: "a verdict for each port",
        rules: &[Nft("table inet t {
            chain no { reject; }
            chain f { type filter hook forward priority 0;
                udp dport vmap { 9 : accept, 53 : drop, 1000-1999 : jump no }; }; }")],
        kept: &["fragments udp", "udp to port 1000-1999", "udp to port 53"],
    },
    Case {
        name: "address, protocol and port together",
        rules: &[Nft("table ip t {
            set services { type ipv4_addr . inet_proto . inet_service; flags interval;
                elements = { 10.9.2.0/24 . udp . 50-60, 10.9.3.1 . tcp . 80 }; }
            chain f { type filter hook forward priority 0;
                ip daddr . meta l4proto . th dport @services drop; }; }")],
        kept: &[
            "fragments tcp to 10.9.3.1",
            "fragments udp to 10.9.2.0/24",
            "tcp to 10.9.3.1 to port 80",
            "udp to 10.9.2.0/24 to port 50-60",
        ],
    },
    Case {
        name: "only so many a second",
        rules: &[Nft("table inet t { chain f {
            type filter hook forward priority 0; policy drop;
            limit rate 1000/second accept; }; }")],
        kept: &["all"],
    },
    Case {
        name: "a table that sleeps",
        rules: &[Nft("table ip t { flags dormant; chain f {
            type filter hook forward priority 0; policy drop; }; }")],
        kept: &[],
    },
    Case {
        name: "a mark that a later chain asks for",
        rules: &[Nft("table ip t {
            chain pre { type filter hook prerouting priority -150;
                ip saddr 10.8.0.0/24 meta mark set meta mark | 0x40; }
            chain f { type filter hook forward priority 0;
                meta mark & 0x40 != 0 drop; meta mark 7 drop; }; }")],
        kept: &["from 10.8.0.0/24"],
    },
    Case {
        name: "packets that are changed",
        rules: &[Nft("table ip t { chain f {
            type filter hook forward priority -150; udp dport 53 ip dscp set ef; }; }")],
        kept: &["fragments udp", "udp to port 53"],
    },
    Case {
        name: "dropped before everything, at the interface",
        rules: &[Nft("table netdev t { chain i {
            type filter hook ingress device \"client\" priority 0;
            ip saddr 10.8.0.0/16 drop; }; }")],
        kept: &["from 10.8.0.0/16"],
    },
    Case {
        name: "the other family's rules, and another interface's",
        rules: &[Nft("table ip6 t { chain f {
            type filter hook forward priority 0; policy drop; }; }
            table ip u { chain f { type filter hook forward priority 0;
                oifname \"docker0\" ct state established accept; iifname \"docker0\" drop; }; }")],
        kept: and!(tracked),
    },
    Case {
        name: "chains that return, and one that does not",
        rules: &[Nft("table ip t {
            chain a { ip saddr 10.8.0.1 return; ip saddr 10.8.0.2 accept; }
            chain b { ip saddr 10.8.0.3 drop; }
            chain f { type filter hook forward priority 0;
                jump a; ip saddr 10.8.0.0/30 goto b; ip saddr 10.8.0.5 drop; }; }")],
        kept: &["from 10.8.0.3", "from 10.8.0.5"],
    },
    Case {
        name: "answers that are not let in",
        rules: &[Nft("table ip t { chain f {
            type filter hook forward priority 0;
            ct state established,related accept; iifname \"server\" udp sport 53 drop; }; }")],
        kept: &["fragments", "icmp type 11-12", "icmp type 3-5", "udp to port 53"],
    },
    Case {
        name: "iptables: connections, and the machine's own port led on",
        rules: &[
            Run("iptables-nft -A FORWARD -o docker0 -m conntrack --ctstate ESTABLISHED -j ACCEPT"),
            Run("iptables-nft -A FORWARD -p udp -m multiport --dports 53,1000:1010 -j REJECT"),
            Run("iptables-nft -t nat -A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport 80 -j DNAT --to 10.8.0.9:8000"),
            Run("iptables-nft -t nat -A POSTROUTING -s 10.8.0.0/24 ! -o docker0 -j MASQUERADE"),
        ],
        // Answers from the ports that are refused need not be seen: there is nothing that they answer.
        kept: and!(
            translated,
            "from 10.8.0.0/24",
            "tcp from 10.8.0.9 from port 8000",
            "all but udp to 10.8.0.0/24",
            "udp from port 0-52 to 10.8.0.0/24",
            "udp from port 54-999 to 10.8.0.0/24",
            "udp from port 1011-65535 to 10.8.0.0/24",
            "udp to port 1000-1010",
            "udp to port 53"
        ),
    },
    Case {
        name: "iptables: marks, and matches that are not known",
        rules: &[
            Run("iptables-nft -t mangle -A PREROUTING -s 10.8.0.0/24 -j MARK --set-xmark 0x10/0x10"),
            Run("iptables-nft -A FORWARD -m mark --mark 0x10/0x10 -m length --length 1:1000 -j DROP"),
            Run("iptables-nft -A FORWARD -m mark --mark 0x20/0x20 -j DROP"),
        ],
        kept: &["from 10.8.0.0/24"],
    },
    Case {
        name: "the old iptables: its own chains, and fragments",
        rules: &[
            Run("iptables-legacy -N own"),
            Run("iptables-legacy -A own -p udp --dport 53 -j DROP"),
            Run("iptables-legacy -A own -s 10.8.0.2 -j RETURN"),
            Run("iptables-legacy -A own -s 10.8.0.0/24 -j DROP"),
            Run("iptables-legacy -A FORWARD -i clie+ -j own"),
            Run("iptables-legacy -A FORWARD -f -s 10.7.0.0/24 -j DROP"),
        ],
        kept: &[
            "fragments all but udp from 10.7.0.0/24",
            "fragments udp",
            "from 10.8.0.0/31",
            "from 10.8.0.3-10.8.0.255",
            "udp to port 53",
        ],
    },
    Case {
        name: "iptables looks into an ipset",
        rules: &[
            Run("ipset create bad hash:net"),
            Run("ipset add bad 10.8.0.0/24"),
            Run("iptables-nft -A FORWARD -m set --match-set bad src -j DROP"),
        ],
        kept: &["from 10.8.0.0/24"],
    },
    Case {
        name: "what leaves is shaped",
        rules: &[Run("tc qdisc add dev server root tbf rate 100mbit burst 32k latency 50ms")],
        kept: &["all"],
    },
    Case {
        name: "what comes in is filtered, of IPv6",
        rules: &[
            Run("tc qdisc add dev client clsact"),
            Run("tc filter add dev client ingress protocol ipv6 u32 match u32 0 0 classid 1:1"),
        ],
        kept: &[],
    },
    Case {
        name: "what comes in is filtered",
        rules: &[
            Run("tc qdisc add dev client clsact"),
            Run("tc filter add dev client ingress protocol ip u32 match u32 0 0 classid 1:1"),
        ],
        kept: &["all"],
    },
    Case {
        name: "a policy of IPsec",
        rules: &[Run("ip xfrm policy add src 10.8.0.0/24 dst 0.0.0.0/0 dir fwd \
            tmpl src 10.9.1.2 dst 10.9.1.1 proto esp mode tunnel")],
        kept: &["from 10.8.0.0/24"],
    },
];

/// Loads a rule; `Err` where a program for it is missing.
fn load(router: &Namespace, rule: Rule) -> Result<(), String> {
    match rule {
        Nft(script) => {
            let mut file = tempfile::NamedTempFile::new().expect("a file");
            file.write_all(script.as_bytes()).expect("written");
            router.run(&format!("nft -f {}", file.path().display()));
            Ok(())
        }
        Run(line) => {
            let program = line.split(' ').next().unwrap_or_default();
            let there = router.try_run(&format!("which {program}"), PATIENCE).status.success();
            if !there {
                return Err(format!("{program} is not installed"));
            }
            router.run(line);
            Ok(())
        }
    }
}

fn link(router: &Namespace, name: &str) -> Link {
    let index = router.inside(|| nix::net::if_::if_nametoindex(name)).expect("an interface");
    Link::ethernet(index, name)
}

/// What is kept on both ways: from client to server, and back.
fn both_ways(router: &Namespace) -> [Vec<Kept>; 2] {
    let (client, server) = (link(router, "client"), link(router, "server"));
    let rules = router.inside(Rules::read).expect("rules");
    [(&client, &server), (&server, &client)].map(|(from, to)| rules.forwarded(Family::V4, from, to))
}

/// A packet of UDP, from the client's side or the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Probe {
    from_client: bool,
    from: SocketAddrV4,
    to: SocketAddrV4,
}

/// Questions from the client and their answers, the other way round, and packets that nobody asked for.
fn probes() -> Vec<Probe> {
    let host = |a, b, c| Ipv4Addr::new(10, a, b, c);
    let (client, server) = (host(9, 1, 2), host(9, 2, 2));
    let others = [host(8, 0, 1), host(8, 0, 3), host(8, 0, 5), Ipv4Addr::new(172, 17, 0, 9)];
    let mut probes = Vec::new();
    let mut port = 20_000;
    let mut ask =
        |from_client: bool, from: Ipv4Addr, to: Ipv4Addr, to_port: u16, answered: bool| {
            port += 1;
            let (from, to) = (SocketAddrV4::new(from, port), SocketAddrV4::new(to, to_port));
            if answered {
                probes.push(Probe { from_client, from, to });
            }
            probes.push(Probe { from_client: !from_client, from: to, to: from });
            probes.push(Probe { from_client, from, to });
        };
    for to_port in [9, 53, 1005, 8080] {
        ask(true, client, server, to_port, true);
        ask(false, server, client, to_port, true);
        ask(true, client, server, to_port, false);
    }
    for other in others {
        ask(true, other, server, 9, true);
        ask(false, server, other, 9, true);
    }
    probes
}

impl Probe {
    fn is_in(&self, kept: &[Kept]) -> bool {
        const UDP: u8 = 17;
        kept.iter().any(|Kept { packets, .. }| {
            let port = |range: spine_rules::Ports, port| range.first <= port && port <= range.last;
            packets.protocols.contains(UDP)
                && packets.pieces.whole
                && packets.source.contains(self.from.ip().to_bits().into())
                && packets.destination.contains(self.to.ip().to_bits().into())
                && port(packets.source_ports, self.from.port())
                && port(packets.destination_ports, self.to.port())
        })
    }
}

/// Source and destination of a packet that arrived, and its type of service.
type Fate = (SocketAddrV4, SocketAddrV4, u8);

/// Sends packets through the router, each behind the one before; what became of each that arrived, by its number.
fn send(
    net: &Topology,
    probes: &[(u32, Probe)],
    in_vain: impl Fn(u32) -> bool,
) -> BTreeMap<u32, Fate> {
    let sides = ["client", "server"];
    let ports = sides.map(|host| Port::open(net.host(host), "eth"));
    let mut fates = BTreeMap::new();
    for (number, probe) in probes {
        let side = usize::from(!probe.from_client);
        let link = net.link(sides[side]);
        let ends = [probe.from, probe.to];
        let payload = number.to_be_bytes();
        ports[side].send(&frames::udp([link.router_mac(), link.host_mac()], ends, &payload));
        let patience = if in_vain(*number) { IN_VAIN } else { PATIENCE };
        let deadline = Instant::now() + patience;
        while !fates.contains_key(number) && Instant::now() < deadline {
            fates.extend(arrived(&ports[1 - side]));
        }
    }
    let deadline = Instant::now() + LATE;
    while fates.len() < probes.len() && Instant::now() < deadline {
        ports.iter().for_each(|port| fates.extend(arrived(port)));
    }
    fates
}

/// The next packet of ours that arrived, if one did.
fn arrived(port: &Port) -> Option<(u32, Fate)> {
    const BYTES: usize = header::BYTES + udp::BYTES;
    let received = port.receive()?;
    let packet = ip_packet(&received.frame)?;
    let number = u32::from_be_bytes(*packet.get(BYTES..)?.first_chunk()?);
    let address = |at: usize| Some(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?));
    let port = |at: usize| Some(u16::from_be_bytes(*packet.get(at..)?.first_chunk()?));
    let is_ours = packet.len() == BYTES + 4 && packet[9] == 17;
    let ends = |at, port_at| Some(SocketAddrV4::new(address(at)?, port(port_at)?));
    is_ours.then(|| Some((number, (ends(12, 20)?, ends(16, 22)?, packet[1]))))?
}

/// A router with a rule set, and ways to the networks that probes come from.
fn with_rules(case: &Case) -> Result<Topology, String> {
    let net = Topology::pair();
    for network in ["10.8.0.0/16", "172.17.0.0/16"] {
        net.router().ip(&format!("route add {network} via 10.9.1.2"));
    }
    for rule in case.rules {
        load(net.router(), *rule)?;
    }
    Ok(net)
}

fn said(kept: &[Kept]) -> Vec<String> {
    let mut said: Vec<String> = kept.iter().map(|kept| kept.packets.describe(Family::V4)).collect();
    said.sort();
    said
}

/// What is wrong with what is said of a rule set.
fn wrong(case: &Case) -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    let alone = with_rules(case)?;
    let kept = both_ways(alone.router());
    let mut expected = case.kept.to_vec();
    expected.sort_unstable();
    if said(&kept[0]) != expected {
        wrong.push(format!("{}: kept: {:#?}", case.name, said(&kept[0])));
    }
    let of = |probe: &Probe| &kept[usize::from(!probe.from_client)];
    let (all, only): (Vec<_>, Vec<_>) = {
        let numbered = || (0..).zip(probes());
        (numbered().collect(), numbered().filter(|(_, probe)| probe.is_in(of(probe))).collect())
    };
    let is_kept = |number| only.iter().any(|(kept, _)| *kept == number);
    let before = send(&alone, &all, is_kept);
    for (number, probe) in all.iter().filter(|(number, _)| !is_kept(*number)) {
        let fate = before.get(number);
        if fate != Some(&(probe.from, probe.to, 0)) {
            wrong.push(format!("{}: {probe:?} is not kept, and became {fate:?}", case.name));
        }
    }
    drop(alone);
    let net = with_rules(case)?;
    let after = send(&net, &only, |number| !before.contains_key(&number));
    for (number, probe) in &only {
        // A translated port is the kernel's choice.
        let addresses = |fates: &BTreeMap<u32, Fate>| {
            fates.get(number).map(|(from, to, service)| (*from.ip(), *to.ip(), *service))
        };
        let (with, without) = (addresses(&before), addresses(&after));
        if with != without {
            let was = format!("{with:?} with the others, and {without:?} without them");
            wrong.push(format!("{}: {probe:?} became {was}", case.name));
        }
    }
    Ok(wrong)
}

#[test]
fn what_is_kept_is_what_the_rules_say_and_the_kernel_treats_it_as_if_it_saw_the_rest() {
    let _alone = need_namespaces!();
    need_virtual_interfaces!();
    let mut found = Vec::new();
    for case in CASES {
        match wrong(case) {
            Ok(wrong) => found.extend(wrong),
            Err(reason) => say_skipped(case.name, &reason),
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn what_is_for_the_machine_is_kept_by_its_input() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let input = Nft("table inet t { chain in {
        type filter hook input priority 0; policy drop;
        iifname \"client\" udp dport 5004 accept; iifname \"server\" ip saddr 10.9.2.0/24 accept; }; }");
    load(net.router(), input).expect("nft");
    let rules = net.router().inside(Rules::read).expect("rules");
    let kept = |name| said(&rules.delivered(Family::V4, &link(net.router(), name)));
    assert_eq!(
        kept("client"),
        ["all but udp", "fragments udp", "udp to port 0-5003", "udp to port 5005-65535"]
    );
    assert_eq!(kept("server"), ["from 0.0.0.0-10.9.1.255", "from 10.9.3.0-255.255.255.255"]);
    let (client, server) = (link(net.router(), "client"), link(net.router(), "server"));
    assert_eq!(said(&rules.forwarded(Family::V4, &client, &server)), [""; 0]);
}

#[test]
fn what_may_not_be_read_keeps_everything_and_says_what_would_help() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let (client, server) = (link(net.router(), "client"), link(net.router(), "server"));
    let kept = net.router().inside(|| {
        // For this thread, which ends with this.
        caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_NET_ADMIN)
            .expect("fewer capabilities");
        Rules::read().expect("rules").forwarded(Family::V4, &client, &server)
    });
    assert_eq!(said(&kept)[0], "all");
    assert!(kept[0].why.contains("CAP_NET_ADMIN"), "{kept:?}");
}

#[test]
fn only_changes_that_can_concern_forwarding_are_told() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let router = net.router();
    let both = Nft("table inet t {
        set bad { type ipv4_addr; }
        set ways { type ipv4_addr; }
        chain in { type filter hook input priority 0; ct state new ip saddr @bad drop; }
        chain f { type filter hook forward priority 0; ip saddr @ways drop; }; }");
    load(router, both).expect("nft");
    let ours = [link(router, "client"), link(router, "server")];
    let (mut watch, mut rules) = router.inside(|| {
        let watch = Watch::open(Purpose::Forwarding, Instant::now());
        (watch, Rules::read().expect("rules"))
    });
    // Before the next look at what is not announced.
    let early = Instant::now();
    for (line, expected) in [
        ("nft add element inet t bad { 192.0.2.1 }", false),
        ("nft add rule inet t in udp dport 9 drop", false),
        ("nft add element inet t ways { 192.0.2.1 }", true),
        ("nft delete element inet t ways { 192.0.2.1 }", true),
        ("nft add rule inet t f udp dport 9 drop", true),
        ("nft delete table inet t", true),
        ("tc qdisc add dev client clsact", true),
        ("tc qdisc add dev lo clsact", false),
        ("ip rule add fwmark 1 table 7", true),
        ("ip xfrm policy add src 10.8.0.0/24 dst 10.9.0.0/24 dir fwd", true),
    ] {
        router.run(line);
        // All that a command changes has been announced when it ends.
        let due = router.inside(|| watch.due(early, &rules, &ours));
        assert_eq!(due, expected, "{line}");
        rules = router.inside(Rules::read).expect("rules");
    }
    let later = early + 2 * Watch::INTERVAL;
    let quiet = router.inside(|| watch.due(later, &rules, &ours));
    assert!(!quiet, "nothing has changed");
    let legacy = Run("iptables-legacy -A FORWARD -s 10.8.0.0/24 -j DROP");
    if let Err(reason) = load(router, legacy) {
        return say_skipped("a change of the old iptables", &reason);
    }
    let later = later + 2 * Watch::INTERVAL;
    assert!(router.inside(|| watch.due(later, &rules, &ours)), "the old iptables");
}
