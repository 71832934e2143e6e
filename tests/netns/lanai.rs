//! The paper's card in real time, on real wires: its rates, its latency, and full speed.
//!
//! What is measured must be the card and not the machine. So the kernel's timers pace what is offered, the
//! kernel stamps what arrives, and what the card sends is counted over its own time: the wall's without
//! what the card left out because the machine did something else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use spine_tests::namespace::Namespace;
use spine_tests::packet::{Port, Udp};
use spine_tests::ping::ping;
use spine_tests::{Router, Topology, flow, need, need_namespaces};

/// How long packets are counted.
const COUNTED: Duration = Duration::from_millis(2_500);
/// Packets offered a second: twice what the card takes.
const OFFERED: usize = 20_000;
/// Packets that the kernel may let go together when its timer was late: as many as the card has room for.
const TOGETHER: usize = 8;
/// Bytes that wait for their time: more than a sender is allowed to have on its way.
const WAITING: usize = 64 << 20;
/// Tries: what is measured while the machine does something else for half of the time is the machine; and
/// what is taken from the wire late for less than that is not all known to the card.
const TRIES: usize = 3;

/// Does `work` while packets of `bytes` are offered to the card.
fn under_load<T>(net: &Topology, bytes: usize, work: impl FnOnce() -> T) -> T {
    // Ethernet, IPv4 and UDP headers.
    let payload = vec![0; bytes - 42];
    let to = net.link("server").host_address().parse().expect("an address");
    let frame = Udp { payload: &payload, ..flow::from_client(net, to) }.frame();
    let client = net.host("client");
    let port = Port::open(client, "eth");
    let (rate, burst) = (OFFERED * bytes * 8, TOGETHER * bytes);
    client.run(&format!(
        "tc qdisc replace dev eth root tbf rate {rate}bit burst {burst}b limit {WAITING}b"
    ));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Waits, half a second ahead, while the kernel has more than it may let go.
            while !stop.load(Ordering::Relaxed) {
                port.send(&frame);
            }
        });
        let result = work();
        stop.store(true, Ordering::Relaxed);
        client.run("tc qdisc del dev eth root");
        result
    })
}

/// Packets that the host's interface has received.
fn received(host: &Namespace) -> u64 {
    let text = host
        .inside(|| std::fs::read_to_string("/proc/thread-self/net/dev"))
        .expect("the interface's counters");
    let line = text.lines().find_map(|line| line.trim().strip_prefix("eth:")).expect("eth");
    line.split_whitespace().nth(1).and_then(|count| count.parse().ok()).expect("a count")
}

/// Packets in a second of the card's time that come through at the server, and the part of the wall's time
/// that the card left out.
fn rate(net: &Topology, wire: &str, bytes: usize) -> (f64, f64) {
    let options = ["--nic", "lanai", "--lanai-wire", wire];
    let router = Router::start_with(net.router(), &net.interfaces(), &options);
    let server = net.host("server");
    let (count, wall) = under_load(net, bytes, || {
        let (before, start) = (received(server), Instant::now());
        std::thread::sleep(COUNTED);
        (received(server) - before, start.elapsed())
    });
    let report = router.stop();
    let left_out = report.left_out("client").min(wall);
    let own = wall - left_out;
    println!(
        "{wire}, {bytes} bytes: {count} packets in {wall:.3?}, of which the card left out \
         {left_out:.3?} ({} times)",
        report.late("client")
    );
    (count as f64 / own.as_secs_f64(), left_out.as_secs_f64() / wall.as_secs_f64())
}

/// Panics unless the card takes packets of `bytes` at the published rate within 5 %.
fn expect_rate(wire: &str, bytes: usize, published: f64) {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let mut measured = Vec::new();
    for _ in 0..TRIES {
        let (rate, left_out) = rate(&net, wire, bytes);
        println!("{rate:.0} packets/s, published {published}");
        if left_out < 0.5 {
            if (rate - published).abs() / published <= 0.05 {
                return;
            }
            measured.push(rate);
        }
    }
    assert!(measured.is_empty(), "{measured:.0?} packets/s, not {published}");
    need::say_skipped(
        std::thread::current().name().unwrap_or("lanai"),
        "the machine did something else for half of the time",
    );
}

#[test]
fn over_af_xdp_the_card_forwards_small_packets_at_the_published_rate() {
    expect_rate("xdp", 576, 11_300.0);
}

#[test]
fn over_af_xdp_the_card_forwards_large_packets_at_the_published_rate() {
    expect_rate("xdp", 1_500, 10_200.0);
}

#[test]
fn over_af_packet_the_card_forwards_small_packets_at_the_published_rate() {
    expect_rate("packet", 576, 11_300.0);
}

#[test]
fn over_af_packet_the_card_forwards_large_packets_at_the_published_rate() {
    expect_rate("packet", 1_500, 10_200.0);
}

#[test]
fn over_af_xdp_a_ping_through_two_cards_takes_what_it_took_in_1998() {
    expect_pings("xdp");
}

#[test]
fn over_af_packet_a_ping_through_two_cards_takes_what_it_took_in_1998() {
    expect_pings("packet");
}

fn expect_pings(wire: &str) {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let options = ["--nic", "lanai", "--lanai-wire", wire];
    let router = Router::start_with(net.router(), &net.interfaces(), &options);
    let ping = ping(net.host("client"), &net.link("server").host_address(), 50);
    println!("{wire}: ping through the card, there and back: {:.3} ms", ping.mean);
    assert_eq!(ping.answered, ping.sent);
    // Each way some 70 us of events and transfers; how much later the machine ran them is the machine's.
    assert!(ping.mean >= 0.14, "{} ms", ping.mean);
    let report = router.stop();
    assert_eq!(report.forwarded(), 100, "{report:?}");
    for interface in net.interfaces() {
        let mode = report.mode(interface);
        assert!(mode.starts_with("lanai model over"), "{interface}: {mode}");
    }
}

#[test]
fn a_card_with_nothing_to_do_sleeps() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    for wire in ["xdp", "packet"] {
        let options = ["--nic", "lanai", "--lanai-wire", wire];
        let router = Router::start_with(net.router(), &net.interfaces(), &options);
        let ping = ping(net.host("client"), &net.link("server").host_address(), 5);
        assert_eq!(ping.answered, ping.sent, "{wire}");
        let (before, start) = (router.processor_time(), Instant::now());
        std::thread::sleep(Duration::from_secs(1));
        let used = (router.processor_time() - before).as_secs_f64() / start.elapsed().as_secs_f64();
        println!("{wire}: an idle card takes {:.1} % of a processor", used * 100.0);
        // Its host half looks after routes and neighbours meanwhile.
        assert!(used < 0.2, "{wire}: {:.1} % of a processor", used * 100.0);
        assert_eq!(router.stop().late("client"), 0, "{wire}");
    }
}
