//! The paper's card in real time, on real wires: its rates, its latency, and full speed.

use std::time::{Duration, Instant};

use nix::unistd::Pid;
use spine_tests::namespace::Namespace;
use spine_tests::packet::{Port, Udp};
use spine_tests::ping::ping;
use spine_tests::router::Report;
use spine_tests::{Router, Topology, flow, need, need_namespaces};

/// How long packets are counted.
const COUNTED: Duration = Duration::from_millis(2_200);
/// How long the card is under load before that.
const SETTLED: Duration = Duration::from_millis(300);
/// Packets sent together, and the time to the next: 20,000 a second, twice what the card takes. A card has
/// room for eight.
const TOGETHER: u32 = 4;
const APART: Duration = Duration::from_micros(200);
/// Tries: what is measured on a machine that does not run the card in time is the machine.
const TRIES: usize = 5;
/// As much of the machine as others leave, and first.
const FIRST: i32 = -19;

/// The machine for us, for as long as this lives.
struct Preferred;

impl Drop for Preferred {
    fn drop(&mut self) {
        let _ = std::fs::write("/proc/self/autogroup", "0");
    }
}

/// Packets of `bytes`, offered to the card for as long as `work` takes.
fn under_load<T: Send>(net: &Topology, bytes: usize, work: impl FnOnce() -> T) -> T {
    // Ethernet, IPv4 and UDP headers.
    let payload = vec![0; bytes - 42];
    let to = net.link("server").host_address().parse().expect("an address");
    let frame = Udp { payload: &payload, ..flow::from_client(net, to) }.frame();
    let port = Port::open(net.host("client"), "eth");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            prefer(Pid::from_raw(0));
            let mut next = Instant::now();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                (0..TOGETHER).for_each(|_| port.send(&frame));
                next += APART;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        let result = work();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        result
    })
}

/// Has a thread run before others where the machine is busy; zero: the calling one.
fn prefer(thread: Pid) {
    // Without it the test is retried more often, no more.
    let _ = rustix::process::setpriority_process(
        rustix::process::Pid::from_raw(thread.as_raw()),
        FIRST,
    );
    // Where the kernel shares the machine by session, that of the test counts among the others'.
    let _ = std::fs::write("/proc/self/autogroup", FIRST.to_string());
}

/// Has all threads of a process, which is of our session, run before others.
fn prefer_all(process: Pid) {
    let threads = std::fs::read_dir(format!("/proc/{process}/task"));
    for thread in threads.into_iter().flatten().flatten() {
        if let Some(id) = thread.file_name().to_str().and_then(|name| name.parse().ok()) {
            prefer(Pid::from_raw(id));
        }
    }
}

/// Packets that the host's interface has received.
fn received(host: &Namespace) -> u64 {
    let text = host
        .inside(|| std::fs::read_to_string("/proc/thread-self/net/dev"))
        .expect("the interface's counters");
    let line = text.lines().find_map(|line| line.trim().strip_prefix("eth:")).expect("eth");
    line.split_whitespace().nth(1).and_then(|count| count.parse().ok()).expect("a count")
}

/// Packets a second that come through at the server, and whether the card was run in time.
fn rate(net: &Topology, wire: &str, bytes: usize) -> (f64, Report) {
    let options = ["--nic", "lanai", "--lanai-wire", wire];
    let router = Router::start_with(net.router(), &net.interfaces(), &options);
    prefer_all(router.pid());
    let server = net.host("server");
    let rate = under_load(net, bytes, || {
        std::thread::sleep(SETTLED);
        let (before, start) = (received(server), Instant::now());
        std::thread::sleep(COUNTED);
        (received(server) - before) as f64 / start.elapsed().as_secs_f64()
    });
    (rate, router.stop())
}

/// Panics unless the card takes packets of `bytes` at the published rate within 5 %, in one of some
/// tries; where the machine never ran it in time, says so instead.
fn expect_rate(wire: &str, bytes: usize, published: f64) {
    let _alone = need_namespaces!();
    let _preferred = Preferred;
    let net = Topology::pair();
    let mut in_time = None;
    for _ in 0..TRIES {
        let (rate, report) = rate(&net, wire, bytes);
        let late = net.interfaces().iter().map(|name| report.late(name)).sum::<u64>();
        println!("{wire}, {bytes} bytes: {rate:.0} packets/s, published {published}, late {late}");
        if (rate - published).abs() <= published * 0.05 {
            return;
        }
        if late == 0 {
            in_time = Some((rate, report));
        }
    }
    match in_time {
        Some((rate, report)) => panic!("{rate:.0} packets/s, not {published}: {report:?}"),
        None => need::say_skipped(
            std::thread::current().name().unwrap_or("lanai"),
            "the machine was too busy to run the card in time",
        ),
    }
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
fn a_ping_through_two_cards_takes_what_it_took_in_1998() {
    let _alone = need_namespaces!();
    let _preferred = Preferred;
    let net = Topology::pair();
    let options = ["--nic", "lanai", "--lanai-wire", "xdp"];
    let router = Router::start_with(net.router(), &net.interfaces(), &options);
    prefer_all(router.pid());
    let ping = ping(net.host("client"), &net.link("server").host_address(), 50);
    println!("ping through the card, there and back: {:.3} ms", ping.mean);
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
