//! What the adapters leave to the kernel: the kernel answers, fragments and resolves as if it were alone.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use spine_headers::icmp::v4::{CODE_TOO_BIG, TIME_EXCEEDED, UNREACHABLE};
use spine_headers::{icmp, protocol};
use spine_tests::packet::{Port, Udp, ipv4, numbered, sequence, source};
use spine_tests::ping::ping;
use spine_tests::{Link, Router, Topology, flow, need_namespaces, on_each_wire};

on_each_wire! {
    a_packet_at_the_end_of_its_life_is_answered_by_the_router
    traceroute_shows_the_router
    a_packet_too_big_to_go_on_whole_is_answered_with_the_mtu
    a_packet_too_big_that_may_be_fragmented_arrives_in_pieces
    a_destination_without_a_route_is_answered_with_unreachable
    an_unknown_neighbour_is_resolved_by_the_kernel_and_nothing_is_lost
    a_burst_of_exceptions_does_not_stop_the_adapters
}

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 2, 2);

/// An ICMP message: source, type, code, and the 16 bits in which "fragmentation needed" has the MTU.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Icmp {
    from: Ipv4Addr,
    kind: u8,
    code: u8,
    mtu: u16,
}

fn icmp_in(frame: &[u8]) -> Option<Icmp> {
    let packet = ipv4(frame).filter(|packet| packet.header.protocol() == protocol::ICMP)?;
    let header = icmp::Message::read(packet.payload).ok()?.header;
    Some(Icmp {
        from: packet.header.source(),
        kind: header.kind(),
        code: header.code(),
        mtu: header.mtu_v4(),
    })
}

/// Sends one packet from the client, and returns the ICMP message that comes back, if one does.
fn answer_to(net: &Topology, packet: &Udp<'_>) -> Option<Icmp> {
    let port = Port::open(net.host("client"), "eth");
    port.send(&packet.frame());
    let deadline = Instant::now() + Duration::from_millis(500);
    while Instant::now() < deadline {
        if let Some(message) = port.receive().and_then(|received| icmp_in(&received.frame)) {
            return Some(message);
        }
    }
    None
}

fn topology() -> Topology {
    Topology::star(&[Link::to("client", 1), Link::to("server", 2).mtu(1400)])
}

fn a_packet_at_the_end_of_its_life_is_answered_by_the_router(nic: &[&str]) {
    let _alone = need_namespaces!();
    let net = topology();
    let router = Router::start_with(net.router(), &net.interfaces(), nic);
    let answer = answer_to(&net, &Udp { ttl: 1, ..flow::from_client(&net, SERVER) });
    router.stop();
    let from = Ipv4Addr::new(10, 9, 1, 1);
    assert_eq!(answer, Some(Icmp { from, kind: TIME_EXCEEDED, code: 0, mtu: 0 }));
}

fn traceroute_shows_the_router(nic: &[&str]) {
    let _alone = need_namespaces!();
    let net = topology();
    let router = Router::start_with(net.router(), &net.interfaces(), nic);
    let said = net.host("client").run("traceroute -n -q 1 -w 1 -m 5 10.9.2.2");
    router.stop();
    let hops: Vec<&str> =
        said.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(hops, ["10.9.1.1", "10.9.2.2"], "{said}");
}

fn a_packet_too_big_to_go_on_whole_is_answered_with_the_mtu(nic: &[&str]) {
    let _alone = need_namespaces!();
    let net = topology();
    let router = Router::start_with(net.router(), &net.interfaces(), nic);
    let payload = [0; 1401 - 28];
    let answer = answer_to(&net, &Udp { payload: &payload, ..flow::from_client(&net, SERVER) });
    router.stop();
    let from = Ipv4Addr::new(10, 9, 1, 1);
    let wanted = Icmp { from, kind: UNREACHABLE, code: CODE_TOO_BIG, mtu: 1400 };
    assert_eq!(answer, Some(wanted));
}

fn a_packet_too_big_that_may_be_fragmented_arrives_in_pieces(nic: &[&str]) {
    let _alone = need_namespaces!();
    let net = topology();
    let port = Port::open(net.host("server"), "eth");
    let router = Router::start_with(net.router(), &net.interfaces(), nic);
    let payload = [0; 1401 - 28];
    let packet = Udp { keep_whole: false, payload: &payload, ..flow::from_client(&net, SERVER) };
    Port::open(net.host("client"), "eth").send(&packet.frame());
    let client = Ipv4Addr::new(10, 9, 1, 2);
    let pieces = std::iter::repeat_with(|| port.receive())
        .take(25)
        .flatten()
        .filter(|received| source(&received.frame) == Some(client))
        .count();
    router.stop();
    assert_eq!(pieces, 2);
}

fn a_destination_without_a_route_is_answered_with_unreachable(nic: &[&str]) {
    let _alone = need_namespaces!();
    let net = topology();
    let router = Router::start_with(net.router(), &net.interfaces(), nic);
    let nowhere = Ipv4Addr::new(203, 0, 113, 1);
    let answer = answer_to(&net, &flow::from_client(&net, nowhere));
    router.stop();
    let from = Ipv4Addr::new(10, 9, 1, 1);
    assert_eq!(answer, Some(Icmp { from, kind: UNREACHABLE, code: 0, mtu: 0 }));
}

fn an_unknown_neighbour_is_resolved_by_the_kernel_and_nothing_is_lost(nic: &[&str]) {
    let _alone = need_namespaces!();
    let net = topology();
    net.router().ip("neighbour del 10.9.2.2 dev server");
    let router = Router::start_with(net.router(), &net.interfaces(), nic);
    let before = net.router().kernel_forwarded();
    let ping = ping(net.host("client"), "10.9.2.2", 100);
    let by_kernel = net.router().kernel_forwarded() - before;
    let report = router.stop();
    assert_eq!(ping.answered, ping.sent);
    assert!(by_kernel > 0, "the first packet goes to the kernel: {report:?}");
    assert!(by_kernel < 10, "the adapters go on: {by_kernel} by the kernel, {report:?}");
}

#[test]
fn a_neighbour_in_use_does_not_go_stale_under_the_bypass() {
    let _alone = need_namespaces!();
    let net = topology();
    // As short as the kernel allows to be told apart from luck.
    net.router().sysctl("ipv4/neigh/server/base_reachable_time_ms", "1000");
    net.router().sysctl("ipv4/neigh/server/delay_first_probe_time", "1");
    net.router().sysctl("ipv4/neigh/server/gc_stale_time", "1");
    net.router().ip("neighbour del 10.9.2.2 dev server");
    let router = Router::start(net.router(), &net.interfaces());
    let warm = ping(net.host("client"), "10.9.2.2", 50);
    let before = net.router().kernel_forwarded();
    let flow = flow::during(&net, SERVER, Duration::from_secs(4), || (), Duration::from_millis(1));
    let by_kernel = net.router().kernel_forwarded() - before;
    let report = router.stop();
    assert_eq!(warm.answered, warm.sent);
    assert_eq!(flow.lost(), 0);
    assert!(by_kernel * 50 < report.forwarded(), "{by_kernel} by the kernel: {report:?}");
}

fn a_burst_of_exceptions_does_not_stop_the_adapters(nic: &[&str]) {
    let _alone = need_namespaces!();
    let net = topology();
    let router = Router::start_with(net.router(), &net.interfaces(), nic);
    let (client, server) =
        (Port::open(net.host("client"), "eth"), Port::open(net.host("server"), "eth"));
    let big = Udp { payload: &[0; 1401 - 28], ..flow::from_client(&net, SERVER) }.frame();
    for number in 0..200 {
        for _ in 0..20 {
            client.send(&big);
        }
        let small = numbered(number);
        client.send(&Udp { payload: &small, ..flow::from_client(&net, SERVER) }.frame());
        std::thread::sleep(Duration::from_millis(2));
    }
    let arrived = std::iter::repeat_with(|| server.receive())
        .take_while(Option::is_some)
        .flatten()
        .filter(|received| sequence(&received.frame).is_some())
        .count();
    let report = router.stop();
    assert_eq!(arrived, 200, "{report:?}");
    // Each exception reached the kernel or was counted.
    let dropped = report.dropped();
    let lost: u64 =
        ["kernel_queue_full", "over_share"].iter().filter_map(|reason| dropped.get(*reason)).sum();
    assert_eq!(report.to_kernel() + lost, 4000, "{report:?}");
}
