//! A paced stream of numbered packets, during which something happens.
//!
//! What happens takes effect when packets arrive elsewhere, otherwise, or no more; each arrival carries
//! the time at which the kernel saw it, so effects are timed by the stream's own interval and not by how
//! soon the test's threads were scheduled.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use crate::packet::{self, Port, Received, Udp};
use crate::topology::Topology;

/// Packets a second: an effect is seen within a millisecond.
pub const RATE: u32 = 1000;

/// How soon a change must have taken effect.
pub const SOON: Duration = Duration::from_millis(100);

/// One packet of the stream, at a host.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The host.
    pub host: &'static str,
    /// The packet's number in the stream.
    pub number: u32,
    /// When the kernel saw it there.
    pub at: SystemTime,
    /// The link-layer address it was sent to.
    pub to_mac: [u8; 6],
}

/// A stream, and what became of it.
#[derive(Debug)]
pub struct Flow {
    /// When each packet was sent.
    pub sent: Vec<SystemTime>,
    /// All arrivals, by host and then by time.
    pub arrivals: Vec<Arrival>,
    /// When the action ended, from which its effect is timed.
    pub acted: SystemTime,
}

/// A packet from `client` to `to`, as the stream sends them.
pub fn from_client(net: &Topology, to: Ipv4Addr) -> Udp<'static> {
    let link = net.link("client");
    Udp {
        to_mac: link.router_mac(),
        from_mac: link.host_mac(),
        from: Ipv4Addr::new(10, 9, link.net, 2),
        to,
        ttl: 64,
        keep_whole: true,
        payload: &[],
    }
}

/// Sends packets from `client` to `to` for the time `before`, acts, and goes on for the time `after`.
pub fn during(
    net: &Topology,
    to: Ipv4Addr,
    before: Duration,
    action: impl FnOnce(),
    after: Duration,
) -> Flow {
    let like = from_client(net, to);
    let sender = Port::open(net.host("client"), "eth");
    let (stop, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let collectors: Vec<_> = net
            .interfaces()
            .into_iter()
            .map(|host| {
                let (port, done) = (Port::open(net.host(host), "eth"), &done);
                (host, scope.spawn(move || port.collect_until(done)))
            })
            .collect();
        let sending = scope.spawn(|| packet::send_stream(&sender, &like, RATE, &stop));
        // An action that fails would leave them at work, and the scope waiting for them.
        let _ends = Ends([&stop, &done]);
        std::thread::sleep(before);
        action();
        let acted = SystemTime::now();
        std::thread::sleep(after);
        stop.store(true, Ordering::Release);
        let sent = sending.join().expect("the sender does not panic");
        done.store(true, Ordering::Release);
        let arrivals = collectors
            .into_iter()
            .flat_map(|(host, collector)| {
                let frames = collector.join().expect("a collector does not panic");
                frames.into_iter().filter_map(move |received| arrival(host, &received))
            })
            .collect();
        Flow { sent, arrivals, acted }
    })
}

/// Sets what threads wait for.
struct Ends<'a>([&'a AtomicBool; 2]);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|flag| flag.store(true, Ordering::Release));
    }
}

fn arrival(host: &'static str, received: &Received) -> Option<Arrival> {
    let number = packet::sequence(&received.frame)?;
    let to_mac = packet::to_mac(&received.frame)?;
    Some(Arrival { host, number, at: received.at, to_mac })
}

impl Flow {
    /// Arrivals at a host, by time.
    pub fn at(&self, host: &str) -> impl Iterator<Item = &Arrival> {
        self.arrivals.iter().filter(move |arrival| arrival.host == host)
    }

    /// How long after the action the last packet arrived for which `what` holds; zero if none did after it.
    pub fn last_after(&self, what: impl Fn(&Arrival) -> bool) -> Duration {
        let last =
            self.arrivals.iter().filter(|arrival| what(arrival)).map(|arrival| arrival.at).max();
        last.and_then(|at| at.duration_since(self.acted).ok()).unwrap_or_default()
    }

    /// How long after the action the first packet arrived for which `what` holds; `None` if none did.
    pub fn first_after(&self, what: impl Fn(&Arrival) -> bool) -> Option<Duration> {
        self.arrivals
            .iter()
            .filter(|arrival| what(arrival))
            .filter_map(|arrival| arrival.at.duration_since(self.acted).ok())
            .min()
    }

    /// Panics unless everything for which `stale` holds ends, and something for which `fresh` holds
    /// arrives, within [`SOON`] of the action.
    pub fn expect_switch(
        &self,
        stale: impl Fn(&Arrival) -> bool,
        fresh: impl Fn(&Arrival) -> bool,
    ) {
        self.expect_end(stale);
        self.expect_begin(fresh);
    }

    /// Panics if packets for which `what` holds still arrive [`SOON`] after the action, or never did.
    pub fn expect_end(&self, what: impl Fn(&Arrival) -> bool) {
        assert!(self.arrivals.iter().any(&what), "there was nothing that could have ended");
        let last = self.last_after(what);
        assert!(last <= SOON, "packets went to the old place until {last:?} after the change");
    }

    /// Panics unless a packet for which `what` holds arrives within [`SOON`] of the action.
    pub fn expect_begin(&self, what: impl Fn(&Arrival) -> bool) {
        let first = self.first_after(what);
        assert!(
            first.is_some_and(|first| first <= SOON),
            "the first packet went to the new place {first:?} after the change"
        );
    }

    /// Packets sent that arrived nowhere.
    pub fn lost(&self) -> usize {
        let mut numbers: Vec<u32> = self.arrivals.iter().map(|arrival| arrival.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        self.sent.len() - numbers.len()
    }
}
