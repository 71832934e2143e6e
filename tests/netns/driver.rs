//! What a router and a video must do on every driver, in short.
//!
//! On a veth these say little that other tests do not. On wired interfaces (`spine_tests::ports`) each is one answer
//! about one driver: `tests/nic` runs them on every kind of interface that its guest has, so their names are short,
//! and one that fails does not hide the next. Drivers reset their interface when a program is attached or detached;
//! only `start` asks for carriers, the others wait for them.

use spine_tests::iperf::{self, Direction};
use spine_tests::ping::{Ping, ping_with};
use spine_tests::ports::{has_carrier, wait_for_carrier};
use spine_tests::video::{Receiver, send};
use spine_tests::{Link, Router, Topology, need_namespaces};

/// Data that makes the smallest and the largest request that a link with an MTU of 1500 carries whole.
const SMALL: usize = 56;
const LARGE: usize = 1472;
/// Requests of a ping.
const REQUESTS: u32 = 10;

/// What a router's interfaces are to report: the mode of each, in order, with `;` between; or one for all.
fn expected_modes() -> Vec<String> {
    // A veth has no zero-copy.
    let text = std::env::var("SPINE_TEST_MODE").unwrap_or_else(|_| String::from("copy"));
    text.split(';').map(String::from).collect()
}

fn wait_for_carriers(net: &Topology) {
    for interface in net.interfaces() {
        wait_for_carrier(net.router(), interface);
        wait_for_carrier(net.host(interface), "eth");
    }
}

/// A router through which packets can pass.
fn start(net: &Topology) -> Router {
    let router = Router::start(net.router(), &net.interfaces());
    wait_for_carriers(net);
    router
}

/// Pings from the client through the router.
fn ping(net: &Topology, data: usize) -> Ping {
    ping_with(net.host("client"), &net.link("server").host_address(), REQUESTS, data)
}

fn expect_all(ping: Ping, what: &str) {
    assert_eq!(ping.answered, ping.sent, "{what}");
}

fn pings_pass_through_the_adapters(data: usize) {
    let net = Topology::pair();
    let router = start(&net);
    let before = net.router().kernel_forwarded();
    let ping = ping(&net, data);
    let by_kernel = net.router().kernel_forwarded() - before;
    let report = router.stop();
    expect_all(ping, &format!("{data} bytes of data: {report:?}"));
    assert_eq!(by_kernel, 0, "{report:?}");
    assert!(report.forwarded() >= u64::from(2 * REQUESTS), "{report:?}");
}

#[test]
fn start_in_the_mode_expected_with_a_carrier() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let router = Router::start(net.router(), &net.interfaces());
    let carriers = net.interfaces().into_iter().all(|one| has_carrier(net.router(), one));
    let report = router.stop();
    let expected = expected_modes();
    for (interface, expected) in net.interfaces().iter().zip(expected.iter().cycle()) {
        let mode = report.mode(interface);
        assert!(mode.split_whitespace().any(|word| word == expected), "{interface}: {mode}");
    }
    assert!(carriers, "it says that it is ready, and no packet can pass");
}

#[test]
fn ping_56() {
    let _alone = need_namespaces!();
    pings_pass_through_the_adapters(SMALL);
}

#[test]
fn ping_1472() {
    let _alone = need_namespaces!();
    pings_pass_through_the_adapters(LARGE);
}

fn tcp_passes_both_ways_through_the_adapters(net: &Topology) {
    let (client, server) = (net.host("client"), net.host("server"));
    let address = net.link("server").host_address();
    let router = start(net);
    let before = net.router().kernel_forwarded();
    for direction in [Direction::ToServer, Direction::ToClient] {
        let tcp = iperf::tcp(client, server, &address, 2, direction);
        assert!(tcp.bytes > 0, "{direction:?}: nothing came");
    }
    let by_kernel = net.router().kernel_forwarded() - before;
    let report = router.stop();
    assert!(by_kernel * 99 <= report.forwarded(), "{by_kernel} by the kernel: {report:?}");
}

#[test]
fn tcp_both_ways() {
    let _alone = need_namespaces!();
    tcp_passes_both_ways_through_the_adapters(&Topology::pair());
}

/// Where the wire is a bridge of virtual machines, their unfinished checksums come with the packets.
#[test]
fn tcp_with_the_offloads_of_the_hosts() {
    let _alone = need_namespaces!();
    let links = [Link::to("client", 1).with_offloads(), Link::to("server", 2).with_offloads()];
    tcp_passes_both_ways_through_the_adapters(&Topology::star(&links));
}

#[test]
fn kill_9_and_start_again() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let router = start(&net);
    expect_all(ping(&net, SMALL), "before");
    router.kill();
    wait_for_carriers(&net);
    let before = net.router().kernel_forwarded();
    expect_all(ping(&net, SMALL), "after it was killed");
    let by_kernel = net.router().kernel_forwarded() - before;
    assert!(by_kernel >= u64::from(2 * REQUESTS), "{by_kernel} by the kernel");
    let router = start(&net);
    expect_all(ping(&net, SMALL), "after it was started again");
    let report = router.stop();
    assert!(report.forwarded() >= u64::from(2 * REQUESTS), "{report:?}");
}

#[test]
fn video_stream() {
    const FRAMES: u64 = 30;
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let format = "--format UYVY --size 320x240";
    let options = format!("--iface client --port 5004 {format} --check");
    let receiver = Receiver::headless(net.router(), &options);
    wait_for_carriers(&net);
    let to = net.link("client").router_address();
    let options = format!("test-pattern --to {to}:5004 {format} --fps 10 --count {FRAMES}");
    let sent = send(net.host("client"), &options);
    std::thread::sleep(std::time::Duration::from_millis(500));
    let received = receiver.stop();
    assert_eq!(received.count("packets"), sent.count("packets"), "{received:?}");
    assert_eq!(received.count("frames_complete"), FRAMES, "{received:?}");
    assert_eq!(received.count("frames_torn"), 0, "{received:?}");
}
