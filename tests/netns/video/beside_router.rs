//! Video beside the router: both extensions on one adapter, in one process.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use spine_headers::{ethernet, ipv4, udp};
use spine_tests::flow::{self, Flow};
use spine_tests::packet::{self, Port, Udp};
use spine_tests::video::{Display, Receiver, Statistics, finish_sending, send, start_sending};
use spine_tests::{Topology, need_namespaces, need_programs};

const ROUTER: &str = "10.9.1.1";
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 2, 2);
/// Where the destination port is in a frame.
const UDP_PORT: usize = ethernet::BYTES + ipv4::BYTES + udp::offset::DESTINATION_PORT;

/// Packets from the client to the server for some time.
fn pass(net: &Topology, time: Duration) -> Flow {
    flow::during(net, SERVER, time, || {}, Duration::from_millis(100))
}

/// Packets that the adapters sent to the server; the other way go its own ICMP messages.
fn forwarded_to_server(statistics: &Statistics) -> u64 {
    statistics.part("router").part("interfaces").part("server").count("forwarded")
}

#[test]
fn four_windows_and_the_router_on_one_adapter_lose_nothing() {
    let _alone = need_namespaces!();
    need_programs!("Xvfb");
    let (net, display) = (Topology::pair(), Display::start(1300, 1000));
    let ports = [5004, 5006, 5008, 5010];
    let streams = ports.map(|port| format!("--stream {port}:UYVY:640x480"));
    let options = format!("--iface client --router server --check {}", streams.join(" "));
    let receiver = Receiver::on_display(net.router(), &display, &options);
    let senders = ports.map(|port| {
        let options = format!(
            "test-pattern --to {ROUTER}:{port} --format UYVY --size 640x480 --fps 30 --count 90"
        );
        start_sending(net.host("client"), &options)
    });
    let flow = pass(&net, Duration::from_millis(2900));
    senders.into_iter().for_each(|sender| drop(finish_sending(sender)));
    std::thread::sleep(Duration::from_millis(200));
    let statistics = receiver.stop();
    for stream in statistics.streams() {
        assert_eq!(stream.count("frames_complete"), 90, "{statistics:?}");
        assert_eq!(stream.count("packets_lost"), 0, "{stream:?}");
        assert_eq!(stream.count("frames_torn"), 0, "{stream:?}");
        // On a machine that does something else, too, some are overwritten.
        assert!(stream.count("frames_shown") >= 45, "{stream:?}");
    }
    assert_eq!(statistics.text("presented"), "MIT-SHM");
    assert_eq!(statistics.count("adapter_lost"), 0, "{statistics:?}");
    // The kernel would have forwarded them, too: it was the adapters.
    let sent = u64::try_from(flow.sent.len()).expect("a count");
    assert!(sent > 1000, "the router had nothing to do");
    assert_eq!(flow.lost(), 0, "of {sent} packets to the server");
    assert_eq!(forwarded_to_server(&statistics), sent, "{statistics:?}");
}

#[test]
fn a_video_port_takes_nothing_that_only_passes_through() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let options = "--iface client --router server --port 5004 --format RGB --size 64x48";
    let receiver = Receiver::headless(net.router(), options);
    let (from, to) = (Port::open(net.host("client"), "eth"), Port::open(net.host("server"), "eth"));
    for number in 0..20 {
        let payload = packet::numbered(number);
        let mut frame = Udp { payload: &payload, ..flow::from_client(&net, SERVER) }.frame();
        frame[UDP_PORT..UDP_PORT + 2].copy_from_slice(&5004_u16.to_be_bytes());
        from.send(&frame);
    }
    let done = AtomicBool::new(false);
    done.store(true, Ordering::Release);
    let arrived = to.collect_until(&done);
    let numbers = arrived.iter().filter_map(|one| packet::sequence(&one.frame)).count();
    let statistics = receiver.stop();
    assert_eq!(numbers, 20, "{statistics:?}");
    assert_eq!(statistics.count("packets") + statistics.count("packets_unknown"), 0);
    assert_eq!(forwarded_to_server(&statistics), 20, "{statistics:?}");
}

#[test]
fn video_goes_on_where_the_router_stands_aside() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let options = "--iface client --router server --port 5004 --format RGB --size 64x48";
    let mut receiver = Receiver::headless(net.router(), options);
    net.router().sysctl("ipv4/conf/client/forwarding", "0");
    receiver.wait_for("left to the kernel", Duration::from_secs(5));
    let sender =
        format!("test-pattern --to {ROUTER}:5004 --format RGB --size 64x48 --fps 30 --count 15");
    send(net.host("client"), &sender);
    let flow = pass(&net, Duration::from_millis(200));
    let statistics = receiver.stop();
    assert_eq!(statistics.count("frames_complete"), 15, "{statistics:?}");
    assert_eq!(flow.lost(), flow.sent.len(), "the kernel does not forward either");
}

#[test]
fn a_router_that_cannot_be_is_a_sentence() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let program = spine_tests::video::binary().display();
    let stream = "--headless --stream 5004:RGB:64x48 --duration 1";
    for (interfaces, sentence) in [
        ("--iface client --router nowhere", "there is no interface \"nowhere\""),
        ("--iface client --router client", "interface client is given twice"),
    ] {
        let line = format!("{program} {interfaces} {stream}");
        let finished = net.router().try_run(&line, Duration::from_secs(20));
        assert_eq!(finished.status.code(), Some(1), "{line}");
        assert!(finished.stderr.contains(sentence), "{line}: {}", finished.stderr);
    }
}
