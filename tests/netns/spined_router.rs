//! `spine-router` on the adapters of a running `spined`: packets are forwarded there, and whichever of the two is
//! killed, the kernel forwards on.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use spine_client::Load;
use spine_tests::daemon::{ANSWER, ASK, Daemon, echo, wait_until};
use spine_tests::iperf::{self, Direction};
use spine_tests::ping::ping;
use spine_tests::process::Finished;
use spine_tests::{Link, Running, Topology, need_namespaces};

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

#[test]
fn a_router_and_an_extension_with_the_same_handler_numbers_are_loaded_beside_each_other() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let mut client = daemon.client();
    let load = |interface: &str| Load { interface: interface.to_owned(), ..Load::default() };
    let first = client.load(&load("client"), &echo(7, 0), &[]).expect("loaded");
    let router = start(&net, &daemon);
    let last = client.load(&load("server"), &echo(8, 0), &[]).expect("loaded");
    pings_over(&net, &daemon, "a router beside others");
    assert!(forwarded(&daemon) > 0);
    for (number, version) in [(first.number, 7), (last.number, 8)] {
        let answer = client.ask(number, ASK.0, &[], ANSWER, PATIENCE).expect("an answer");
        assert_eq!(answer[0], version);
    }
    // Its author's numbers are what it is known by, and on the adapter it has others where these were taken.
    assert_eq!((&first.handlers, &first.numbers), (&vec![1, 2], &vec![1, 2]));
    assert!(last.handlers == [1, 2] && last.numbers[0] != 1, "{last:?}");
    router.signal(Signal::SIGTERM);
    router.finish(PATIENCE).expect_success("the router");
}

#[test]
fn roots_router_is_found_a_place_where_others_claim_and_they_are_told() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let policy = "[[grant]]\nuser = 65534\ninterfaces = [\"*\"]\ndomains = [\"net\", \"host\"]\n\
                  prefixes = [\"10.9.2.0/24\"]\n";
    let daemon = Daemon::start_with(net.router(), &["client", "server"], policy);
    let module = daemon.file("echo.wasm", &echo(1, 0));
    let module = module.to_string_lossy();
    let claims = ["load", &module, "--iface", "client", "--claim", "10.9.2.0/24", "--keep"];
    let number = daemon.ctl_as(Some(65534), &claims).expect_success("load").stdout;
    let number: u64 = number.trim().parse().expect("a number");
    let mut watcher = daemon.client();
    watcher.attach(number).expect("root may");
    let router = start(&net, &daemon);
    let ended = watcher.wait_for(number, ANSWER, PATIENCE).expect_err("it gave way").to_string();
    assert!(ended.contains("root has more right to what it claimed on client"), "{ended}");
    pings_over(&net, &daemon, "root's router");
    // The other way round it is refused.
    let refused = daemon.ctl_as(Some(65534), &claims);
    assert!(refused.stderr.contains("claims destinations on client already"), "{refused:?}");
    router.signal(Signal::SIGTERM);
    router.finish(PATIENCE).expect_success("the router");
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
    // What an adapter holds of a packet when its extension goes is the kernel's.
    pings_over(&net, &daemon, "while the router dies");
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
fn a_router_that_is_given_an_interface_the_daemon_does_not_have_says_so_and_touches_nothing() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client"]);
    let router = command(&net, &daemon, &["server", "client"]);
    let ended = Running::start(router).finish(PATIENCE);
    assert!(!ended.status.success());
    let sentence = "spined owns client, and not server: a router takes all of its interfaces from";
    assert!(ended.stderr.contains(sentence), "{ended:?}");
    assert!(daemon.client().extensions().expect("the daemon serves on").is_empty());
    let links = net.router().ip("-details link show server");
    assert!(!links.contains("xdp"), "{links}");
}

/// A client and two servers, all on a daemon whose adapters are not numbered as a router is given them.
fn three() -> (Topology, Daemon) {
    let net = Topology::star(&[Link::to("client", 1), Link::to("server", 2), Link::to("third", 3)]);
    let daemon = Daemon::start(net.router(), &["third", "client", "server"]);
    (net, daemon)
}

/// Whether a ping to there is forwarded by the adapters, both ways.
fn is_forwarded(net: &Topology, daemon: &Daemon, address: &str) -> bool {
    let before = forwarded(daemon);
    let answers = ping(net.host("client"), address, 1);
    answers.answered == 1 && forwarded(daemon) >= before + 2
}

#[test]
fn a_router_takes_some_of_the_daemons_interfaces_and_the_rest_stay_with_the_kernel() {
    let _alone = need_namespaces!();
    let (net, daemon) = three();
    let router = start(&net, &daemon);
    let before = forwarded(&daemon);
    pings_over(&net, &daemon, "between the router's interfaces");
    assert!(forwarded(&daemon) >= before + 38);
    let before = forwarded(&daemon);
    for (from, to) in [("client", "10.9.3.2"), ("third", "10.9.1.2"), ("third", "10.9.2.2")] {
        let answers = ping(net.host(from), to, 10);
        assert_eq!(answers.answered, answers.sent, "{from} to {to}");
    }
    assert_eq!(forwarded(&daemon), before, "by the kernel");
    let third = daemon.client().statistics("third").expect("statistics");
    assert_eq!((third.counters["received"], third.counters["transmitted"]), (0, 0));

    // Single prefixes, as on adapters of its own: what the kernel has is not even claimed.
    let client = daemon.client().statistics("client").expect("statistics");
    assert_eq!(client.to_kernel.values().sum::<u64>(), 0, "{client:#?}");
    assert!(client.classifier["not_ours"] >= 10, "{client:#?}");
    let listed = daemon.client().extensions().expect("a list");
    assert!(
        listed.len() == 2 && listed.iter().all(|it| it.claimed > 0 && !it.paused),
        "{listed:?}"
    );
    router.signal(Signal::SIGINT);
    router.finish(PATIENCE).expect_success("spine-router");
    assert_eq!(ping(net.host("client"), "10.9.3.2", 1).answered, 1);
}

#[test]
fn claims_follow_the_routes_and_are_gone_at_once_when_the_router_is_killed() {
    let _alone = need_namespaces!();
    let (net, daemon) = three();
    for host in ["server", "third"] {
        net.host(host).ip("address add 198.51.100.7/32 dev lo");
    }
    let router = start(&net, &daemon);
    let claimed =
        || daemon.client().statistics("client").expect("statistics").classifier["claimed"];
    pings_over(&net, &daemon, "to begin with");
    net.router().ip("route add 198.51.100.0/24 via 10.9.2.2");
    wait_until("the new route to be claimed", || is_forwarded(&net, &daemon, "198.51.100.7"));
    // Another way out, which is not the router's: the kernel's packets, which no adapter sees.
    net.router().ip("route replace 198.51.100.0/24 via 10.9.3.2");
    wait_until("the claim to go", || {
        let before = claimed();
        ping(net.host("client"), "198.51.100.7", 1).answered == 1 && claimed() == before
    });
    net.router().ip("route replace 198.51.100.0/24 via 10.9.2.2");
    wait_until("the claim to return", || is_forwarded(&net, &daemon, "198.51.100.7"));
    net.router().ip("address add 198.51.100.7/32 dev lo");
    wait_until("the router's own address to be the kernel's", || {
        let before = claimed();
        ping(net.host("client"), "198.51.100.7", 1).answered == 1 && claimed() == before
    });
    net.router().ip("address del 198.51.100.7/32 dev lo");
    wait_until("the claim to return", || is_forwarded(&net, &daemon, "198.51.100.7"));

    router.signal(Signal::SIGKILL);
    router.finish(PATIENCE);
    wait_until("its extensions to go", || {
        daemon.client().extensions().is_ok_and(|all| all.is_empty())
    });
    let before = claimed();
    pings(&net, "by the kernel, the router being dead");
    assert_eq!(claimed(), before, "nothing is claimed");
}

#[test]
fn a_router_on_the_daemon_pauses_while_the_kernel_has_rules_that_adapters_cannot_honour() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let mut router = start(&net, &daemon);
    pings_over(&net, &daemon, "to begin with");
    let paused = || {
        let listed = daemon.client().extensions().expect("a list");
        let paused = listed.iter().filter(|it| it.paused).count();
        (listed.len(), paused)
    };
    assert_eq!(paused(), (2, 0));
    net.router().run("nft add table ip guard");
    net.router().run(
        "nft add chain ip guard forward { type filter hook forward priority 0; policy accept; }",
    );
    net.router().run("nft add rule ip guard forward udp dport 9 drop");
    router.wait_for("are left to the kernel", PATIENCE);
    wait_until("both to pause", || paused() == (2, 2));
    let before = forwarded(&daemon);
    pings(&net, "by the kernel, the router being paused");
    assert_eq!(forwarded(&daemon), before);
    net.router().run("nft delete table ip guard");
    router.wait_for("are forwarded by the adapters", PATIENCE);
    wait_until("both to go on", || paused() == (2, 0));
    pings_over(&net, &daemon, "again");

    // One interface alone.
    net.router().sysctl("ipv4/conf/client/forwarding", "0");
    router.wait_for("packets received on client are left to the kernel", PATIENCE);
    wait_until("one to pause", || paused() == (2, 1));
    assert_eq!(ping(net.host("client"), "10.9.2.2", 3).answered, 0, "the kernel does not forward");
    net.router().sysctl("ipv4/conf/client/forwarding", "1");
    router.wait_for("packets received on client are forwarded again", PATIENCE);
    wait_until("it to go on", || paused() == (2, 0));
    pings_over(&net, &daemon, "once more");
}
