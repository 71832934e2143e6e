//! What forwarding costs beside the packets: nothing when idle, and few system calls under load.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use spine_tests::packet::{Port, Udp};
use spine_tests::{Link, Router, Topology, flow, need_namespaces, need_release};

#[test]
fn an_idle_router_uses_less_than_two_percent_of_a_core() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let router = Router::start(net.router(), &net.interfaces());
    // What the start left to do is over after a second.
    sleep(Duration::from_secs(1));
    let (before, started) = (router.processor_time(), Instant::now());
    sleep(Duration::from_secs(5));
    let share = (router.processor_time() - before).as_secs_f64() / started.elapsed().as_secs_f64();
    router.stop();
    println!("idle: {:.2} % of a core", share * 100.0);
    assert!(share < 0.02, "{:.2} % of a core", share * 100.0);
}

/// Packets a second that the load must reach for the test to mean something.
const LOAD: f64 = 100_000.0;

#[test]
fn under_load_there_is_at_most_one_system_call_for_sixteen_packets() {
    need_release!();
    let _alone = need_namespaces!();
    let net = Topology::star(&[Link::to("client", 1).silent(), Link::to("server", 2).silent()]);
    let router = Router::start_with(net.router(), &net.interfaces(), &["--cores", "1"]);
    let frame = Udp { payload: &[0; 18], ..flow::from_client(&net, "10.9.2.2".parse().unwrap()) };
    let (sent, time) = flood(&net, &frame.frame(), Duration::from_secs(3));
    let report = router.stop();

    let rate = report.forwarded() as f64 / time.as_secs_f64();
    let per_call = report.forwarded() as f64 / report.count("syscalls").max(1) as f64;
    println!("{sent} sent, {rate:.0} forwarded a second, {per_call:.1} packets a system call");
    assert!(rate >= LOAD, "only {rate:.0} packets a second were forwarded: {report:?}");
    assert!(per_call >= 16.0, "{per_call:.1} packets a system call: {report:?}");
}

/// Sends `frame` as fast as one thread can, on core 0, and returns how often and how long.
fn flood(net: &Topology, frame: &[u8], time: Duration) -> (u64, Duration) {
    let port = Port::open(net.host("client"), "eth");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let mut core = nix::sched::CpuSet::new();
            core.set(0).expect("core 0 exists");
            nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &core)
                .expect("a thread may choose its core");
            let started = Instant::now();
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                port.send(frame);
                sent += 1;
            }
            (sent, started.elapsed())
        });
        sleep(time);
        stop.store(true, Ordering::Relaxed);
        sending.join().expect("the sender does not panic")
    })
}
