//! Real traffic, through the adapters.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use spine_tests::iperf::{self, Direction};
use spine_tests::packet::{self, Port, Udp};
use spine_tests::ping::ping;
use spine_tests::router::Report;
use spine_tests::{
    Link, Router, Topology, flow, need_namespaces, need_virtual_interfaces, on_each_wire,
    on_the_model,
};

on_each_wire! {
    ping_tcp_and_udp_pass_both_ways_through_the_adapters
    tcp_passes_between_hosts_with_default_offloads
    three_interfaces_forward_between_all_pairs
    interfaces_that_are_not_ours_stay_with_the_kernel
    the_router_itself_stays_reachable_on_all_its_addresses
    the_flows_of_a_multipath_route_take_all_its_ways_and_each_flow_one
}

on_the_model! {
    ping_tcp_and_udp_pass_both_ways_through_the_adapters
    tcp_passes_between_hosts_with_default_offloads
    three_interfaces_forward_between_all_pairs
    interfaces_that_are_not_ours_stay_with_the_kernel
    the_router_itself_stays_reachable_on_all_its_addresses
    the_flows_of_a_multipath_route_take_all_its_ways_and_each_flow_one
}

/// Panics unless the adapters forwarded at least `packets`, and at least 99 of 100 of all.
fn expect_by_adapters(report: &Report, by_kernel: u64, packets: u64) {
    assert!(report.forwarded() >= packets, "{packets} went through: {report:?}");
    assert!(by_kernel * 99 <= report.forwarded(), "{by_kernel} by the kernel: {report:?}");
}

fn ping_tcp_and_udp_pass_both_ways_through_the_adapters(nic: &[&str]) {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let (client, server) = (net.host("client"), net.host("server"));
    let (near, far) = (net.link("client").host_address(), net.link("server").host_address());
    let before = net.router().kernel_forwarded();
    let router = Router::start_with(net.router(), &net.interfaces(), nic);

    for (from, to) in [(client, &far), (server, &near)] {
        let ping = ping(from, to, 50);
        assert_eq!(ping.answered, ping.sent, "pings to {to}");
    }
    let there = iperf::tcp(client, server, &far, 2, Direction::ToServer);
    let back = iperf::tcp(client, server, &far, 2, Direction::ToClient);
    let udp = iperf::udp(client, server, &far, 2, 100);
    let report = router.stop();

    assert!(udp.lost_on_the_way() * 1000 <= udp.sent, "{udp:?}");
    let full_segments = (there.bytes + back.bytes) / 1448;
    let by_kernel = net.router().kernel_forwarded() - before;
    expect_by_adapters(&report, by_kernel, 200 + full_segments + udp.sent - udp.lost);
}

fn tcp_passes_between_hosts_with_default_offloads(nic: &[&str]) {
    let _alone = need_namespaces!();
    let net = Topology::star(&[
        Link::to("client", 1).with_offloads(),
        Link::to("server", 2).with_offloads(),
    ]);
    let (client, server) = (net.host("client"), net.host("server"));
    let address = net.link("server").host_address();
    let before = net.router().kernel_forwarded();
    let router = Router::start_with(net.router(), &net.interfaces(), nic);
    let there = iperf::tcp(client, server, &address, 2, Direction::ToServer);
    let back = iperf::tcp(client, server, &address, 2, Direction::ToClient);
    let report = router.stop();

    expect_by_adapters(&report, net.router().kernel_forwarded() - before, 1000);
    for (direction, reached) in [("to the server", there), ("to the client", back)] {
        assert!(reached.rate > 100e6, "{direction}: {} bit/s", reached.rate);
    }
    let errors = server.snmp("Tcp", "InCsumErrors") + client.snmp("Tcp", "InCsumErrors");
    assert_eq!(errors, 0, "segments arrived with a wrong checksum");
}

fn three_interfaces_forward_between_all_pairs(nic: &[&str]) {
    let _alone = need_namespaces!();
    let net = Topology::star(&[Link::to("client", 1), Link::to("server", 2), Link::to("third", 3)]);
    let before = net.router().kernel_forwarded();
    let router = Router::start_with(net.router(), &net.interfaces(), nic);
    for from in net.interfaces() {
        for to in net.interfaces().into_iter().filter(|to| *to != from) {
            let ping = ping(net.host(from), &net.link(to).host_address(), 20);
            assert_eq!(ping.answered, ping.sent, "from {from} to {to}");
        }
    }
    let report = router.stop();
    expect_by_adapters(&report, net.router().kernel_forwarded() - before, 6 * 40);
}

fn interfaces_that_are_not_ours_stay_with_the_kernel(nic: &[&str]) {
    let _alone = need_namespaces!();
    let net = Topology::star(&[Link::to("client", 1), Link::to("server", 2), Link::to("third", 3)]);
    let before = net.router().kernel_forwarded();
    let router = Router::start_with(net.router(), &["client", "server"], nic);
    for (from, to) in [("client", "third"), ("third", "client"), ("third", "server")] {
        let ping = ping(net.host(from), &net.link(to).host_address(), 20);
        assert_eq!(ping.answered, ping.sent, "from {from} to {to}");
    }
    let report = router.stop();
    let by_kernel = net.router().kernel_forwarded() - before;
    assert!(by_kernel >= 120, "{by_kernel} by the kernel: {report:?}");
}

fn the_flows_of_a_multipath_route_take_all_its_ways_and_each_flow_one(nic: &[&str]) {
    /// Flows, and packets of each.
    const FLOWS: u8 = 120;
    const PACKETS: usize = 3;
    let _alone = need_namespaces!();
    let net = Topology::star(&[Link::to("client", 1), Link::to("east", 2), Link::to("west", 3)]);
    let ways = "nexthop via 10.9.2.2 dev east nexthop via 10.9.3.2 dev west";
    net.router().ip(&format!("route add 10.99.0.0/24 {ways}"));
    let before = net.router().kernel_forwarded();
    let router = Router::start_with(net.router(), &net.interfaces(), nic);
    let sender = Port::open(net.host("client"), "eth");
    let done = AtomicBool::new(false);
    let arrived = thread::scope(|scope| {
        let collectors = ["east", "west"].map(|way| {
            let (port, done) = (Port::open(net.host(way), "eth"), &done);
            scope.spawn(move || port.collect_until(done))
        });
        for flow in 0..PACKETS * usize::from(FLOWS) {
            let last = u8::try_from(flow % usize::from(FLOWS)).expect("few");
            let to = Ipv4Addr::new(10, 99, 0, last);
            sender.send(&Udp { payload: b"flow", ..flow::from_client(&net, to) }.frame());
        }
        done.store(true, Ordering::Release);
        collectors.map(|collector| collector.join().expect("a collector"))
    });
    let report = router.stop();

    let by_way = arrived.map(|frames| {
        let mut flows = BTreeMap::new();
        for frame in frames {
            let packet = packet::ip_packet(&frame.frame);
            if let Some([10, 99, 0, flow]) = packet.and_then(|packet| packet.get(16..20)) {
                *flows.entry(*flow).or_default() += 1;
            }
        }
        flows
    });
    let [east, west] = &by_way;
    for flow in 0..FLOWS {
        let counts = [east, west].map(|way| way.get(&flow).copied().unwrap_or(0));
        let one_way = counts == [PACKETS, 0] || counts == [0, PACKETS];
        assert!(one_way, "packets of flow {flow} to east and west: {counts:?}: {report:?}");
    }
    // Evenly, by a hash: with one chance in a million fewer than 33 of 120.
    assert!(east.len() >= 33 && west.len() >= 33, "{} to east, {} to west", east.len(), west.len());
    assert_eq!(net.router().kernel_forwarded(), before, "{report:?}");
}

fn the_router_itself_stays_reachable_on_all_its_addresses(nic: &[&str]) {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let router = Router::start_with(net.router(), &net.interfaces(), nic);
    for link in ["client", "server"] {
        let ping = ping(net.host("client"), &net.link(link).router_address(), 20);
        assert_eq!(ping.answered, ping.sent, "the address on the link to {link}");
    }
    let report = router.stop();
    assert_eq!(report.forwarded(), 0, "{report:?}");
}

#[test]
fn the_mode_in_force_is_reported_for_each_interface() {
    let _alone = need_namespaces!();
    need_virtual_interfaces!();
    let net = Topology::pair();
    let report = Router::start(net.router(), &net.interfaces()).stop();
    // A veth has no zero-copy.
    for interface in net.interfaces() {
        let mode = report.mode(interface);
        assert!(mode.split_whitespace().any(|word| word == "copy"), "{interface}: {mode}");
    }
}
