//! Routes, neighbours and links that change while packets flow: each takes effect within 100 ms.
//!
//! The stream goes from `client` to an address behind the router; arrivals are timed by the kernel. In
//! each test the adapters must have forwarded, or the kernel's own speed would be what is tested.

use std::net::Ipv4Addr;
use std::time::Duration;

use spine_tests::flow::{self, Flow};
use spine_tests::topology::hex;
use spine_tests::{Link, Router, Topology, need_namespaces};

/// An address that only routes lead to.
const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const BEFORE: Duration = Duration::from_millis(400);
const AFTER: Duration = Duration::from_millis(600);

/// A client and two ways out. The hosts only listen.
fn topology() -> Topology {
    Topology::star(&[
        Link::to("client", 1).silent(),
        Link::to("east", 2).silent(),
        Link::to("west", 3).silent(),
    ])
}

/// Streams to `to` through a router in `net`, with `action` on the way.
fn during(net: &Topology, to: Ipv4Addr, action: impl FnOnce()) -> Flow {
    let router = Router::start(net.router(), &net.interfaces());
    let before = net.router().kernel_forwarded();
    let flow = flow::during(net, to, BEFORE, action, AFTER);
    let by_kernel = net.router().kernel_forwarded() - before;
    let report = router.stop();
    let arrived = u64::try_from(flow.arrivals.len()).expect("fewer than 2^64 packets");
    // A change of neighbour or link leaves a few packets to the kernel, which finds out what is new.
    assert!(
        by_kernel * 20 <= arrived && report.forwarded() * 20 >= arrived * 19,
        "{arrived} arrived, {by_kernel} of them through the kernel: {report:?}"
    );
    flow
}

#[test]
fn a_replaced_route_leads_elsewhere_and_nothing_is_lost() {
    let _alone = need_namespaces!();
    let net = topology();
    net.router().ip("route add 198.51.100.0/24 via 10.9.2.2");
    let flow = during(&net, FAR, || {
        net.router().ip("route replace 198.51.100.0/24 via 10.9.3.2");
    });
    flow.expect_switch(|packet| packet.host == "east", |packet| packet.host == "west");
    assert_eq!(flow.lost(), 0, "of {} packets", flow.sent.len());
}

#[test]
fn a_more_specific_route_takes_over_and_gives_back() {
    let _alone = need_namespaces!();
    let net = topology();
    net.router().ip("route add 198.51.100.0/24 via 10.9.2.2");
    let flow = during(&net, FAR, || {
        net.router().ip("route add 198.51.100.7/32 via 10.9.3.2");
    });
    flow.expect_switch(|packet| packet.host == "east", |packet| packet.host == "west");
    let flow = during(&net, FAR, || {
        net.router().ip("route del 198.51.100.7/32 via 10.9.3.2");
    });
    flow.expect_switch(|packet| packet.host == "west", |packet| packet.host == "east");
    assert_eq!(flow.lost(), 0, "of {} packets", flow.sent.len());
}

#[test]
fn an_added_route_begins_to_be_used() {
    let _alone = need_namespaces!();
    let net = topology();
    let flow = during(&net, FAR, || {
        net.router().ip("route add 198.51.100.0/24 via 10.9.2.2");
    });
    flow.expect_begin(|packet| packet.host == "east");
}

#[test]
fn a_deleted_route_is_used_no_more() {
    let _alone = need_namespaces!();
    let net = topology();
    net.router().ip("route add 198.51.100.0/24 via 10.9.2.2");
    let flow = during(&net, FAR, || {
        net.router().ip("route del 198.51.100.0/24");
    });
    flow.expect_end(|packet| packet.host == "east");
}

#[test]
fn a_blackhole_swallows_what_a_route_carried() {
    let _alone = need_namespaces!();
    let net = topology();
    net.router().ip("route add 198.51.100.0/24 via 10.9.2.2");
    let flow = during(&net, FAR, || {
        net.router().ip("route add blackhole 198.51.100.7/32");
    });
    flow.expect_end(|packet| packet.host == "east");
}

#[test]
fn a_replaced_nexthop_object_moves_the_routes_that_use_it() {
    let _alone = need_namespaces!();
    let net = topology();
    net.router().ip("nexthop add id 7 via 10.9.2.2 dev east");
    net.router().ip("route add 198.51.100.0/24 nhid 7");
    let flow = during(&net, FAR, || {
        net.router().ip("nexthop replace id 7 via 10.9.3.2 dev west");
    });
    flow.expect_switch(|packet| packet.host == "east", |packet| packet.host == "west");
}

#[test]
fn a_neighbour_with_a_new_address_gets_its_packets_there() {
    let _alone = need_namespaces!();
    let net = topology();
    let old = net.link("east").host_mac();
    let new = [0x02, 0, 0, 9, 2, 0xee];
    let flow = during(&net, Ipv4Addr::new(10, 9, 2, 2), || {
        net.router()
            .ip(&format!("neighbour replace 10.9.2.2 lladdr {} dev east nud permanent", hex(new)));
    });
    flow.expect_switch(|packet| packet.to_mac == old, |packet| packet.to_mac == new);
    assert_eq!(flow.lost(), 0, "of {} packets", flow.sent.len());
}

#[test]
fn a_link_that_goes_down_gets_nothing() {
    let _alone = need_namespaces!();
    let net = topology();
    let flow = during(&net, Ipv4Addr::new(10, 9, 2, 2), || {
        net.router().ip("link set east down");
    });
    flow.expect_end(|packet| packet.host == "east");
}

#[test]
fn a_link_that_comes_up_again_is_used_again() {
    let _alone = need_namespaces!();
    let net = topology();
    let mac = hex(net.link("east").host_mac());
    let flow = during(&net, Ipv4Addr::new(10, 9, 2, 2), || {
        net.router().ip("link set east down");
        std::thread::sleep(Duration::from_millis(200));
        net.router().ip("link set east up");
        // A link that goes down forgets its neighbours, and how fast the host would answer is not ours.
        net.router().ip(&format!("neighbour replace 10.9.2.2 lladdr {mac} dev east nud permanent"));
    });
    flow.expect_begin(|packet| packet.host == "east");
}

#[test]
fn a_link_that_goes_down_hands_over_to_the_next_best_route() {
    let _alone = need_namespaces!();
    let net = topology();
    net.router().ip("route add 198.51.100.0/24 via 10.9.2.2 metric 10");
    net.router().ip("route add 198.51.100.0/24 via 10.9.3.2 metric 20");
    let flow = during(&net, FAR, || {
        net.router().ip("link set east down");
    });
    flow.expect_switch(|packet| packet.host == "east", |packet| packet.host == "west");
}
