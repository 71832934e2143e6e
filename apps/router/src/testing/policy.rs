//! Obstacles in a real kernel: found by name when they appear, gone when they are gone.

use std::collections::BTreeSet;
use std::time::Instant;

use super::support::{in_namespace, run, succeeds};
use crate::interfaces::Interfaces;
use crate::netlink::Mirror;
use crate::policy::{self, Policy, Watch};
use spine_rules::Family;

struct Bench {
    mirror: Mirror,
    watch: Watch,
    ours: Interfaces,
}

impl Bench {
    /// With one interface, so that there is no way between two on which rules could keep anything.
    fn new() -> Self {
        Self::on(&["spa"])
    }

    fn on(names: &[&str]) -> Self {
        let mirror = Mirror::open().expect("a mirror");
        let index = |name: &&str| mirror.state().link_named(name).expect("the veth").0;
        let ours = Interfaces::new(names.iter().map(index).collect());
        let mut watch = Watch::open(Instant::now());
        // Which interfaces are ours the watch knows from then on.
        Policy::of(&mut watch, mirror.state(), &ours, false);
        Self { mirror, watch, ours }
    }

    /// Whether a change of policy was announced since the last call.
    fn announced(&mut self) -> bool {
        let due = self.watch.due(Instant::now());
        self.mirror.collect(Instant::now()).expect("notifications").policy || due
    }

    fn obstacles(&mut self) -> Vec<String> {
        let state = self.mirror.state().clone();
        let found = Policy::of(&mut self.watch, &state, &self.ours, false).found;
        let why: BTreeSet<String> = found.into_iter().map(|found| found.kept.why).collect();
        why.into_iter().collect()
    }
}

#[test]
fn what_rules_keep_is_found_on_each_way_with_its_name() {
    in_namespace(|| {
        let mut bench = Bench::on(&["spa", "spb"]);
        bench.announced();
        for (rules, expected) in [
            (
                "table ip t { chain c { type filter hook forward priority 0; policy drop; }; }",
                vec![
                    "0 > 1 all nftables chain ip t c: policy drop",
                    "1 > 0 all nftables chain ip t c: policy drop",
                ],
            ),
            (
                "table ip t { chain c { type filter hook forward priority 0; iif spa ip saddr 10.3.0.0/16 drop; }; }",
                vec!["0 > 1 from 10.3.0.0/16 nftables chain ip t c: drop (rule handle 2)"],
            ),
            (
                "table inet t { chain c { type filter hook prerouting priority 0; counter; counter; }; }",
                vec![],
            ),
            (
                "table netdev t { chain c { type filter hook ingress device spa priority 0; udp dport 9 drop; }; }",
                vec![
                    "0 > 1 fragments udp nftables chain netdev t c: drop (rule handle 2)",
                    "0 > 1 udp to port 9 nftables chain netdev t c: drop (rule handle 2)",
                ],
            ),
            (
                "table ip t { chain c { type filter hook input priority 0; policy drop; counter; }; chain f { type filter hook forward priority 0; }; }",
                vec![],
            ),
        ] {
            run(&format!("nft '{rules}'"));
            assert!(bench.announced(), "{rules}");
            let state = bench.mirror.state().clone();
            let mut found = Policy::of(&mut bench.watch, &state, &bench.ours, false).found;
            found.sort();
            let said: Vec<String> = found
                .iter()
                .map(|found| {
                    let at = |side: Option<usize>| {
                        side.map_or_else(|| "any".to_owned(), |at| at.to_string())
                    };
                    let (set, why) = (found.kept.packets.describe(Family::V4), &found.kept.why);
                    format!("{} > {} {set} {why}", at(found.ingress), at(found.egress))
                })
                .collect();
            assert_eq!(said, expected, "{rules}");
            run("nft flush ruleset");
            assert!(bench.announced());
        }
    });
}

#[test]
fn obstacles_are_named_when_they_appear_and_gone_when_they_are_gone() {
    in_namespace(|| {
        let mut bench = Bench::on(&["spa", "spb"]);
        bench.announced();
        assert_eq!(bench.obstacles(), Vec::<String>::new());
        let nothing = "nothing";
        // What is done, what undoes it, and the obstacle in between.
        for (there, gone, sentence) in [
            (
                "ip rule add from 10.3.0.0/16 table 100 && ip route add default via 10.1.1.2 table 100",
                "ip route del default table 100",
                "policy rule preference 32765 from 10.3.0.0/16 lookup 100",
            ),
            (
                "ip route add default via 10.1.1.2 table 100",
                "ip rule del from 10.3.0.0/16 table 100",
                "policy rule preference 32765 from 10.3.0.0/16 lookup 100",
            ),
            ("ip rule add fwmark 0x80000/0xff0000 lookup 52", "ip rule del lookup 52", nothing),
            ("ip rule del preference 32767", "ip rule add preference 32767 table 253", nothing),
            (
                "tc qdisc add dev spa clsact && \
                 tc filter add dev spa ingress protocol ip u32 match u32 0 0 classid 1:1",
                "tc qdisc del dev spa clsact",
                "spa",
            ),
            (
                "tc qdisc add dev spa clsact && \
                 tc filter add dev spa egress protocol ip u32 match u32 0 0 classid 1:1",
                "tc filter del dev spa egress",
                "spa",
            ),
            (
                "tc qdisc add dev spa root tbf rate 1mbit burst 10k latency 10ms",
                "tc qdisc del dev spa root",
                "tbf",
            ),
            ("tc qdisc add dev spa root pfifo limit 10", "tc qdisc del dev spa root", nothing),
            (
                "ip link add link spa name mac0 type macvlan mode passthru",
                "ip link del mac0",
                "macvlan device mac0 on interface spa takes packets that come in there",
            ),
            (
                "ip route add local 10.9.0.0/16 dev lo",
                "ip route del local 10.9.0.0/16 dev lo",
                "all of 10.9.0.0/16 are addresses of this machine (see `ip route show table all`)",
            ),
            (
                "ip xfrm policy add dir fwd src 10.3.0.0/16 dst 10.4.0.0/16",
                "ip xfrm policy flush",
                "IPsec",
            ),
        ] {
            if !succeeds(there) {
                eprintln!("skipped: this kernel or machine cannot `{there}`");
                let _ = succeeds(gone);
                bench.announced();
                continue;
            }
            assert!(bench.announced(), "`{there}` was not announced");
            let found = bench.obstacles();
            let is_named = found.iter().any(|found| found.contains(sentence));
            assert_eq!(
                (is_named, found.len().min(1)),
                (sentence != nothing, usize::from(sentence != nothing)),
                "`{there}`: {found:?}"
            );
            run(gone);
            assert!(bench.announced(), "`{gone}` was not announced");
            assert_eq!(bench.obstacles(), Vec::<String>::new(), "`{gone}`");
        }
    });
}

#[test]
fn a_port_of_a_bridge_is_an_obstacle_until_it_is_released() {
    in_namespace(|| {
        let mut bench = Bench::new();
        if !succeeds("ip link add br0 type bridge") {
            eprintln!("skipped: this kernel has no bridges");
            return;
        }
        let spa = bench.ours.indices()[0];
        for (step, expected) in [
            ("ip link set spb master br0", None),
            ("ip link set spa master br0", Some("interface spa is a port of bridge br0")),
            ("ip link set spa nomaster", None),
        ] {
            run(step);
            let dirty = bench.mirror.collect(Instant::now()).expect("notifications");
            assert!(step.contains("spb") || dirty.links.contains(&spa), "`{step}` not announced");
            assert_eq!(bench.obstacles(), Vec::from_iter(expected), "`{step}`");
        }
    });
}

#[test]
fn forwarding_is_honoured_for_each_interface() {
    in_namespace(|| {
        let mut bench = Bench::new();
        let spa = bench.ours.indices()[0];
        for (setting, forwards) in [
            ("ip_forward=1", true),
            ("conf.spa.forwarding=0", false),
            ("conf.spb.forwarding=0", false),
            ("conf.spa.forwarding=1", true),
            ("ip_forward=0", false),
        ] {
            run(&format!("sysctl -qw net.ipv4.{setting}"));
            let dirty = bench.mirror.collect(Instant::now()).expect("notifications");
            assert!(dirty.conf, "{setting} was not announced");
            assert_eq!(policy::forwards(bench.mirror.state(), spa), forwards, "{setting}");
        }
    });
}
