//! What the host's firewall would drop is not shown.

use std::time::Duration;

use spine_tests::need_namespaces;
use spine_tests::video::{Receiver, run_to_end};

use crate::video::{INTERFACE, net};

const PATIENCE: Duration = Duration::from_secs(30);
/// An input chain as hosts have it; what it is followed by lets something in.
const CHAIN: [&str; 2] = [
    "nft add table inet fw",
    "nft add chain inet fw input { type filter hook input priority 0 ; policy drop ; }",
];

fn stream() -> String {
    format!("--iface {INTERFACE} --stream 5004:RGB:64x48")
}

#[test]
fn a_stream_that_the_input_chain_may_drop_is_refused_with_the_rule_and_shown_where_that_is_asked_for()
 {
    let _alone = need_namespaces!();
    for (rule, expected) in [
        ("", Some("chain inet fw input")),
        ("udp dport 5004 accept", None),
        ("udp dport 5006 accept", Some("chain inet fw input")),
        ("ip saddr 10.9.1.0/24 accept", Some("chain inet fw input")),
        ("meta l4proto udp accept", None),
    ] {
        let net = net();
        for command in CHAIN {
            net.router().run(command);
        }
        if !rule.is_empty() {
            net.router().run(&format!("nft add rule inet fw input {rule}"));
        }
        let options = format!("{} --headless --duration 1", stream());
        let finished = run_to_end(net.router(), &options, PATIENCE);
        let said = &finished.stderr;
        assert_eq!(finished.status.success(), expected.is_none(), "{rule:?}: {said}");
        let Some(expected) = expected else { continue };
        assert!(said.contains(expected) && said.contains("5004"), "{rule:?}: {said}");
        let finished =
            run_to_end(net.router(), &format!("{options} --bypass-kernel-policy"), PATIENCE);
        assert!(
            finished.status.success() && finished.stderr.contains(expected),
            "{}",
            finished.stderr
        );
    }
}

#[test]
fn a_rule_that_comes_later_ends_what_it_may_drop_and_one_for_others_does_not() {
    let _alone = need_namespaces!();
    let net = net();
    net.router().run("nft add table inet fw");
    net.router().run("nft add chain inet fw input { type filter hook input priority 0 ; }");
    let receiver = Receiver::headless(net.router(), &stream());
    net.router().run("nft add rule inet fw input tcp dport 22 drop");
    std::thread::sleep(Duration::from_secs(1));
    assert!(nix::sys::signal::kill(receiver.running().pid(), None).is_ok(), "it goes on");
    net.router().run("nft add rule inet fw input udp dport 5000-5100 drop");
    let finished = receiver.ends(PATIENCE);
    assert!(!finished.status.success(), "{}", finished.stderr);
    assert!(finished.stderr.contains("chain inet fw input"), "{}", finished.stderr);
}
