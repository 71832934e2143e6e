//! The router on AF_PACKET, where the kernel gets every packet, too: each arrives exactly once.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use spine_tests::packet::{self, Port, Udp};
use spine_tests::{Namespace, Router, Running, Topology, flow, need_namespaces, router};

const NIC: [&str; 2] = ["--nic", "packet"];
/// Packets a second of each stream.
const RATE: u32 = 2000;

fn start(net: &Topology) -> Router {
    Router::start_with(net.router(), &net.interfaces(), &NIC)
}

/// A packet from the server to the client, as `flow::from_client` makes one the other way.
fn from_server(net: &Topology) -> Udp<'static> {
    let (client, server) = (net.link("client"), net.link("server"));
    Udp {
        to_mac: server.router_mac(),
        from_mac: server.host_mac(),
        from: Ipv4Addr::new(10, 9, server.net, 2),
        to: Ipv4Addr::new(10, 9, client.net, 2),
        ..flow::from_client(net, Ipv4Addr::UNSPECIFIED)
    }
}

/// Sends both streams for this long, and answers for each how many packets were sent, and how often each
/// of them arrived.
fn both_ways(net: &Topology, time: Duration) -> [(u32, BTreeMap<u32, u32>); 2] {
    let (client, server) = (net.host("client"), net.host("server"));
    let there = flow::from_client(net, Ipv4Addr::new(10, 9, 2, 2));
    let streams = [(client, server, there), (server, client, from_server(net))];
    let (stop, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let (stop, done) = (&stop, &done);
    scope(|scope| {
        let running = streams.map(|(from, to, like)| {
            let (sender, collector) = (Port::open(from, "eth"), Port::open(to, "eth"));
            let collecting = scope.spawn(move || collector.collect_until(done));
            let send = move || packet::send_stream(&sender, &like, RATE, stop).len();
            (scope.spawn(send), collecting)
        });
        sleep(time);
        stop.store(true, Ordering::Release);
        // Both have been sent before either collector may end.
        let [there, back] = running;
        let sent = [there.0, back.0].map(|sending| sending.join().expect("a sender"));
        done.store(true, Ordering::Release);
        let arrived = [there.1, back.1].map(|collecting| {
            let mut counts = BTreeMap::new();
            for received in collecting.join().expect("a collector") {
                if let Some(number) = packet::sequence(&received.frame) {
                    *counts.entry(number).or_default() += 1;
                }
            }
            counts
        });
        let [there, back] = sent.map(|count| u32::try_from(count).expect("few"));
        let [arrived_there, arrived_back] = arrived;
        [(there, arrived_there), (back, arrived_back)]
    })
}

/// Packets that arrived more often than once.
fn doubled(arrived: &BTreeMap<u32, u32>) -> usize {
    arrived.values().filter(|count| **count > 1).count()
}

fn lost(sent: u32, arrived: &BTreeMap<u32, u32>) -> usize {
    (0..sent).filter(|number| !arrived.contains_key(number)).count()
}

/// All nftables tables of a namespace.
fn tables(namespace: &Namespace) -> String {
    namespace.run("nft list tables")
}

/// Whether there is an interface for handing packets to the kernel.
fn has_entrance(namespace: &Namespace) -> bool {
    namespace.ip("-brief link show").lines().any(|line| line.starts_with("spine-"))
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !done() {
        assert!(Instant::now() < deadline, "not within 5 s: {what}");
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn each_packet_arrives_exactly_once_and_the_kernel_forwards_none() {
    expect_each_packet_once(&NIC, "af_packet");
}

#[test]
fn under_the_model_each_packet_arrives_exactly_once_too() {
    let model = ["--nic", "lanai", "--lanai-speed", "max", "--lanai-wire", "packet"];
    expect_each_packet_once(&model, "lanai model at full speed over af_packet");
}

/// Panics unless, with these options and in this mode, each packet of two streams arrives once and no packet
/// by way of the kernel.
fn expect_each_packet_once(options: &[&str], mode: &str) {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let router = Router::start_with(net.router(), &net.interfaces(), options);
    let before = net.router().kernel_forwarded();
    let streams = both_ways(&net, Duration::from_secs(2));
    let by_kernel = net.router().kernel_forwarded() - before;
    let report = router.stop();
    for (name, (sent, arrived)) in ["to the server", "to the client"].iter().zip(&streams) {
        assert!(*sent > RATE, "{name}: only {sent} sent");
        assert_eq!(
            (lost(*sent, arrived), doubled(arrived)),
            (0, 0),
            "{name}: of {sent}: {report:?}"
        );
    }
    assert_eq!(by_kernel, 0, "{report:?}");
    let sent: u32 = streams.iter().map(|(sent, _)| sent).sum();
    // And what the hosts had to say of a port that nobody listens on.
    assert!(report.forwarded() >= u64::from(sent), "{report:?}");
    assert_eq!(report.mode("client"), mode);
}

#[test]
fn a_killed_router_leaves_forwarding_to_the_kernel_at_once() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let router = start(&net);
    let before = net.router().kernel_forwarded();
    assert!(tables(net.router()).contains("spine-router"), "packets are kept from the kernel");
    let server = Ipv4Addr::new(10, 9, 2, 2);
    let time = Duration::from_secs(1);
    let flow = flow::during(&net, server, time, || router.kill(), time);

    let by_kernel = net.router().kernel_forwarded() - before;
    assert!(by_kernel > 500, "the kernel forwarded {by_kernel} packets after the kill");
    let soon = usize::try_from(flow::RATE / 10).expect("few");
    assert!(flow.lost() <= soon, "{} packets lost, which is more than 100 ms", flow.lost());
    let mut numbers: Vec<u32> = flow.at("server").map(|arrival| arrival.number).collect();
    let all = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(all, numbers.len(), "some arrived twice");
    assert_eq!(tables(net.router()), "", "the rules outlived their process");
    // The kernel takes its time over namespaces.
    wait_until("the interface is gone", || !has_entrance(net.router()));
}

#[test]
fn an_orderly_end_leaves_rules_and_interfaces_as_they_were() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let before = net.router().ip("-details link show");
    let router = start(&net);
    let during = net.router().ip("-details link show");
    assert!(has_entrance(net.router()), "the way into the kernel: {during}");
    assert!(!during.contains("xdp"), "no program is attached: {during}");
    router.stop();
    assert_eq!(net.router().ip("-details link show"), before);
    assert_eq!(tables(net.router()), "");
    let ping = spine_tests::ping::ping(net.host("client"), "10.9.2.2", 20);
    assert_eq!(ping.answered, ping.sent, "pings after the end");
}

#[test]
fn an_address_that_comes_and_goes_is_the_kernels_while_it_is_there() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let router = start(&net);
    let client = net.host("client");
    let before = spine_tests::ping::ping(client, "10.9.1.99", 3);
    net.router().ip("address add 10.9.1.99/32 dev client");
    let local = "10.9.1.99";
    wait_until("the rules know the address", || {
        net.router().run("nft list ruleset").contains(local)
    });
    // The client's first requests still wait for somebody to know the address, and the next would with them.
    client.ip("neighbour flush dev eth");
    let there = spine_tests::ping::ping(client, local, 10);
    net.router().ip("address del 10.9.1.99/32 dev client");
    wait_until("the rules forget the address", || {
        !net.router().run("nft list ruleset").contains(local)
    });
    let report = router.stop();
    assert_eq!(before.answered, 0);
    assert_eq!(there.answered, there.sent, "{report:?}");
    assert_eq!(report.forwarded(), 0, "{report:?}");
}

/// Runs a second router that must refuse, and answers what it said.
fn refused(net: &Topology, options: &[&str]) -> String {
    let finished = router::run_to_end(net.router(), &net.interfaces(), options);
    assert!(!finished.status.success(), "{options:?}: it ran: {}", finished.stdout);
    assert!(!finished.stderr.contains("ready"), "{options:?}: {}", finished.stderr);
    finished.stderr
}

#[test]
fn an_interface_has_one_router_whatever_moves_its_packets() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let first = Router::start_with(net.router(), &net.interfaces(), &["--nic", "xdp"]);
    let said = refused(&net, &NIC);
    assert!(said.contains("client has an XDP program attached"), "{said}");
    first.stop();
    let first = start(&net);
    for nic in ["packet", "xdp", "auto"] {
        let said = refused(&net, &["--strict", "--nic", nic]);
        assert!(said.contains("nftables chain netdev spine-router-"), "{nic}: {said}");
    }
    let ping = spine_tests::ping::ping(net.host("client"), "10.9.2.2", 20);
    assert_eq!(ping.answered, ping.sent, "pings through the first one");
    assert!(first.stop().forwarded() >= 40);
}

#[test]
fn without_what_it_needs_it_says_so_in_a_sentence() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let program = router::binary().to_string_lossy();
    for (lacking, words) in [
        ("net_admin", &["CAP_NET_ADMIN"][..]),
        ("net_raw", &["CAP_NET_RAW"]),
        ("sys_admin", &["CAP_SYS_ADMIN", "unshare -Urn"]),
    ] {
        let bounds = format!("--bounding-set=-{lacking}");
        let arguments =
            [&bounds, "--", &program, "--nic", "packet", "--iface", "client", "--iface", "server"];
        let command = net.router().command("setpriv", &arguments);
        let finished = Running::start(command).finish(Duration::from_secs(20));
        let said = finished.stderr.trim();
        assert!(!finished.status.success() && !said.contains("ready"), "{lacking}: {said}");
        for word in words {
            assert!(said.contains(word), "{lacking}: {said}");
        }
        assert_eq!(tables(net.router()), "", "{lacking}");
    }
}
