//! The kernel's policy is kept: what the kernel would not forward is not forwarded.

use std::net::Ipv4Addr;
use std::time::Duration;

use spine_tests::flow::{self, Flow, SOON};
use spine_tests::need::say_skipped;
use spine_tests::{Router, Topology, need_namespaces, router};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 2, 2);
const PATIENCE: Duration = Duration::from_secs(10);
const BEFORE: Duration = Duration::from_millis(300);

/// Rules come as notifications of other subsystems than routes do, and may have to be read again in full.
const RULES_WITHIN: Duration = Duration::from_secs(1);

/// Ways to tell the kernel something that an extension does not know about: a name, the commands, and a
/// word that must be said.
const POLICIES: &[(&str, &[&str], &str)] = &[
    (
        "a rule on forward",
        &[
            "nft add table ip filter",
            "nft add chain ip filter forward { type filter hook forward priority 0 ; }",
            "nft add rule ip filter forward udp dport 9 drop",
        ],
        "nft",
    ),
    (
        "a policy of drop on forward",
        &[
            "nft add table ip filter",
            "nft add chain ip filter forward { type filter hook forward priority 0 ; policy drop ; }",
        ],
        "nft",
    ),
    (
        "a rule on prerouting",
        &[
            "nft add table ip nat",
            "nft add chain ip nat prerouting { type nat hook prerouting priority -100 ; }",
            "nft add rule ip nat prerouting udp dport 9 dnat to 10.9.2.3",
        ],
        "nft",
    ),
    (
        "a rule on postrouting, for IPv4 and IPv6 together",
        &[
            "nft add table inet nat",
            "nft add chain inet nat post { type nat hook postrouting priority 100 ; }",
            "nft add rule inet nat post oifname server masquerade",
        ],
        "nft",
    ),
    (
        "a filter on what comes in",
        &[
            "tc qdisc add dev client clsact",
            "tc filter add dev client ingress u32 match u32 0 0 classid 1:1",
        ],
        "tc",
    ),
    (
        "a filter on what goes out",
        &[
            "tc qdisc add dev server clsact",
            "tc filter add dev server egress u32 match u32 0 0 classid 1:1",
        ],
        "tc",
    ),
    (
        "a rule for the choice of table",
        &["ip rule add from 10.9.1.0/24 table 100", "ip route add unreachable default table 100"],
        "rule",
    ),
];

#[test]
fn what_only_the_kernel_can_do_is_left_to_it_and_named_and_strict_refuses() {
    let _alone = need_namespaces!();
    let mut wrong = Vec::new();
    for (name, commands, word) in POLICIES {
        let net = Topology::pair();
        let refused = commands
            .iter()
            .map(|command| net.router().try_run(command, PATIENCE))
            .find(|finished| !finished.status.success());
        if let Some(refused) = refused {
            say_skipped(name, &format!("this kernel does not have it: {}", refused.stderr));
            continue;
        }
        let finished = router::run_to_end(net.router(), &net.interfaces(), &["--duration", "0.2"]);
        if !finished.status.success() {
            wrong.push(format!("{name}: it did not start: {}", finished.stderr));
        } else if !finished.stderr.contains(word) {
            wrong.push(format!("{name}: it does not say {word:?}: {}", finished.stderr));
        }
        let strict = ["--strict", "--duration", "0.2"];
        let finished = router::run_to_end(net.router(), &net.interfaces(), &strict);
        if finished.status.success() || !finished.stderr.contains(word) {
            wrong.push(format!("{name}: --strict: {:?}, {}", finished.status, finished.stderr));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn a_table_without_rules_on_the_way_takes_nothing() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    for command in [
        "nft add table ip filter",
        "nft add chain ip filter input { type filter hook input priority 0 ; }",
        "nft add rule ip filter input tcp dport 1 drop",
    ] {
        net.router().run(command);
    }
    Router::start_with(net.router(), &net.interfaces(), &["--strict"]).stop();
}

#[test]
fn bypassing_the_policy_has_to_be_asked_for() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let (_, commands, _) = POLICIES[0];
    for command in commands {
        net.router().run(command);
    }
    let router = Router::start_with(net.router(), &net.interfaces(), &["--bypass-kernel-policy"]);
    let flow = flow::during(&net, SERVER, BEFORE, || (), BEFORE);
    let report = router.stop();
    assert!(report.forwarded() > 100, "{report:?}");
    assert!(flow.at("server").count() > 100);
}

/// Streams through a router, with `action` on the way.
fn during(net: &Topology, action: impl FnOnce(&mut Router)) -> Flow {
    let mut router = Router::start(net.router(), &net.interfaces());
    let flow = flow::during(net, SERVER, BEFORE, || action(&mut router), 2 * RULES_WITHIN);
    let report = router.stop();
    assert!(report.forwarded() > 100, "before the change the adapters forward: {report:?}");
    flow
}

#[test]
fn a_rule_that_appears_later_is_kept_and_the_change_is_said() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let (_, commands, _) = POLICIES[0];
    let flow = during(&net, |router| {
        for command in commands {
            net.router().run(command);
        }
        router.wait_for("except: ", RULES_WITHIN);
    });
    let last = flow.last_after(|packet| packet.host == "server");
    assert!(last <= RULES_WITHIN, "packets passed the rule until {last:?} after it was made");
}

#[test]
fn a_rule_for_other_packets_changes_nothing_for_these() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let before = net.router().kernel_forwarded();
    let flow = during(&net, |_| {
        for command in [
            "nft add table ip filter",
            "nft add chain ip filter forward { type filter hook forward priority 0 ; }",
            "nft add rule ip filter forward udp dport 7 drop",
        ] {
            net.router().run(command);
        }
    });
    // The adapters stand aside for a moment, and go on.
    let by_kernel = net.router().kernel_forwarded() - before;
    assert!(by_kernel < 500, "{by_kernel} packets were the kernel's");
    assert!(flow.lost() < 50, "{} packets were lost", flow.lost());
}

#[test]
fn forwarding_that_is_switched_off_stops_and_switched_on_goes_on() {
    let _alone = need_namespaces!();
    for path in ["ipv4/ip_forward", "ipv4/conf/client/forwarding"] {
        let net = Topology::pair();
        let flow = during(&net, |_| net.router().sysctl(path, "0"));
        let last = flow.last_after(|packet| packet.host == "server");
        assert!(last <= SOON, "{path}: packets passed until {last:?} after it was 0");

        let flow = flow::during(&net, SERVER, BEFORE, || (), BEFORE);
        assert_eq!(flow.at("server").count(), 0, "{path}: the kernel forwards although it is 0");
        let router = Router::start(net.router(), &net.interfaces());
        let flow = flow::during(
            &net,
            SERVER,
            BEFORE,
            || net.router().sysctl(path, "1"),
            Duration::from_millis(500),
        );
        router.stop();
        let early = flow.at("server").filter(|packet| packet.at < flow.acted - SOON).count();
        assert_eq!(early, 0, "{path}: packets passed while it was 0");
        flow.expect_begin(|packet| packet.host == "server");
    }
}
