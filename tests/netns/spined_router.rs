//! `spine-router` on the adapters of a running `spined`: packets are forwarded there, and whichever of the two is
//! killed, the kernel forwards on.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use spine_tests::daemon::Daemon;
use spine_tests::iperf::{self, Direction};
use spine_tests::ping::ping;
use spine_tests::process::Finished;
use spine_tests::{Running, Topology, need_namespaces};

const PATIENCE: Duration = Duration::from_secs(30);

fn command(net: &Topology, daemon: &Daemon, interfaces: &[&str]) -> Command {
    let router = spine_tests::router::binary().to_string_lossy();
    let mut arguments = vec!["--json"];
    arguments.extend(interfaces.iter().flat_map(|name| ["--iface", name]));
    let mut command = net.router().command(&router, &arguments);
    command.env("SPINE_SOCKET", daemon.socket());
    command
}

fn start(net: &Topology, daemon: &Daemon) -> Running {
    // Not in the daemon's order.
    let mut router = Running::start(command(net, daemon, &["server", "client"]));
    router.wait_for("its adapters are used", PATIENCE);
    router.wait_for("ready", PATIENCE);
    router
}

/// Every ping is answered.
fn pings(net: &Topology, what: &str) {
    let answers = ping(net.host("client"), "10.9.2.2", 20);
    assert_eq!(answers.answered, answers.sent, "{what}");
}

/// The same over the daemon's adapters, with what those say if one is not.
fn pings_over(net: &Topology, daemon: &Daemon, what: &str) {
    let answers = ping(net.host("client"), "10.9.2.2", 20);
    let counted = || {
        let mut client = daemon.client();
        ["client", "server"].map(|name| client.statistics(name).expect("statistics"))
    };
    assert_eq!(answers.answered, answers.sent, "{what}: {:#?}", counted());
}

fn forwarded(daemon: &Daemon) -> u64 {
    let mut client = daemon.client();
    let of = |name: &str| client.statistics(name).expect("statistics").counters["forwarded"];
    ["client", "server"].map(of).into_iter().sum()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_router_uses_the_adapters_of_the_daemon_and_either_may_be_killed() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let router = start(&net, &daemon);
    pings_over(&net, &daemon, "over the daemon's adapters");
    let before = forwarded(&daemon);
    let counted = daemon.client().statistics("client").expect("statistics");
    assert!(before >= 38, "both ways, but for the first: {before}, {counted:#?}");
    for direction in [Direction::ToServer, Direction::ToClient] {
        let (client, server) = (net.host("client"), net.host("server"));
        let tcp = iperf::tcp(client, server, "10.9.2.2", 1, direction);
        assert!(tcp.bytes > 1_000_000, "{tcp:?}");
        let packets = tcp.bytes / 1500;
        let now = forwarded(&daemon) - before;
        assert!(now > packets, "{now} packets forwarded by the adapters, of {packets} and more");
    }
    router.signal(Signal::SIGINT);
    let Finished { stdout, .. } = router.finish(PATIENCE).expect_success("spine-router");
    let report: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert!(report["forwarded"].as_u64() > Some(before), "{report}");
    assert!(daemon.client().extensions().expect("a list").is_empty());
    pings(&net, "by the kernel again");

    // Another one, killed: its extensions go with it.
    let router = start(&net, &daemon);
    let before = forwarded(&daemon);
    pings_over(&net, &daemon, "over the adapters again");
    assert!(forwarded(&daemon) >= before + 38);
    router.signal(Signal::SIGKILL);
    // What an adapter holds of a packet when its extension goes is lost: one or two of them.
    let dying = ping(net.host("client"), "10.9.2.2", 20);
    assert!(dying.answered + 2 >= dying.sent, "while the router dies: {dying:?}");
    router.finish(PATIENCE);
    wait_until("its extensions to go", || {
        daemon.client().extensions().is_ok_and(|all| all.is_empty())
    });
    let before = forwarded(&daemon);
    pings(&net, "by the kernel, the router being dead");
    assert_eq!(forwarded(&daemon), before);

    // And the daemon, under a third one, which says so and ends.
    let router = start(&net, &daemon);
    pings_over(&net, &daemon, "over the adapters once more");
    let _folder = daemon.kill();
    pings(&net, "by the kernel, the daemon being dead");
    let ended = router.finish(PATIENCE);
    assert!(!ended.status.success(), "{ended:?}");
    assert!(ended.stderr.contains("spined has closed the connection"), "{ended:?}");
    pings(&net, "by the kernel, both being dead");
}

#[test]
fn a_router_that_is_given_other_interfaces_than_the_daemon_has_says_so_and_touches_nothing() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client"]);
    let router = command(&net, &daemon, &["server", "client"]);
    let ended = Running::start(router).finish(PATIENCE);
    assert!(!ended.status.success());
    let sentence = "spined owns client, and a router on it must have exactly those: server, client";
    assert!(ended.stderr.contains(sentence), "{ended:?}");
    assert!(daemon.client().extensions().expect("the daemon serves on").is_empty());
    let links = net.router().ip("-details link show server");
    assert!(!links.contains("xdp"), "{links}");
}
