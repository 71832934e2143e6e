//! How far behind the adapter has been: a layer over its interface that looks at the clock once a burst.
//!
//! The backlog is the most packets taken one burst after the other without finding the ring empty, and never
//! more than the ring holds: as many may have waited in it at one time. The stall is the longest time between two looks
//! at the ring while there was work: other programs had the processor.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use spine_abi::event::EventPlan;
use spine_nic::buffer::Frame;
use spine_nic::{Nic, NicStatistics};

/// What was measured, for another thread to read.
#[derive(Debug, Default)]
pub struct Measured {
    backlog: AtomicU64,
    stall: AtomicU64,
}

impl Measured {
    /// The largest backlog, in packets.
    pub fn largest_backlog(&self) -> u64 {
        self.backlog.load(Relaxed)
    }

    /// The longest stall, in nanoseconds.
    pub fn longest_stall(&self) -> u64 {
        self.stall.load(Relaxed)
    }
}

/// The layer.
pub struct Meter<N> {
    under: N,
    measured: Arc<Measured>,
    /// When the last burst was taken; `None` after an empty look.
    busy_since: Option<Instant>,
    run: u64,
    ring: u64,
}

impl<N: Nic> Meter<N> {
    /// Measures an interface whose rings hold so many packets.
    pub fn new(under: N, ring: u64) -> (Self, Arc<Measured>) {
        let measured = Arc::new(Measured::default());
        (Self { under, measured: Arc::clone(&measured), busy_since: None, run: 0, ring }, measured)
    }

    fn note(&mut self, received: usize) {
        if received == 0 {
            self.busy_since = None;
            self.run = 0;
            return;
        }
        let now = Instant::now();
        if let Some(before) = self.busy_since.replace(now) {
            let stall = u64::try_from((now - before).as_nanos()).unwrap_or(u64::MAX);
            self.measured.stall.fetch_max(stall, Relaxed);
        }
        self.run += received as u64;
        self.measured.backlog.fetch_max(self.run.min(self.ring), Relaxed);
    }
}

impl<N: Nic> Nic for Meter<N> {
    fn name(&self) -> &str {
        self.under.name()
    }

    fn mode(&self) -> &str {
        self.under.mode()
    }

    fn plan(&self) -> &EventPlan {
        self.under.plan()
    }

    fn receive(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let received = self.under.receive(into, most);
        self.note(received);
        received
    }

    fn transmit(&mut self, from: &mut VecDeque<Frame>) -> usize {
        self.under.transmit(from)
    }

    fn unflushed(&self) -> usize {
        self.under.unflushed()
    }

    fn is_stalled(&self) -> bool {
        self.under.is_stalled()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.under.flush()
    }

    fn complete(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        self.under.complete(into, most)
    }

    fn in_flight(&self) -> usize {
        self.under.in_flight()
    }

    fn refill(&mut self, from: &mut Vec<Frame>) {
        self.under.refill(from);
    }

    fn poll_fd(&self) -> Option<RawFd> {
        self.under.poll_fd()
    }

    fn poll_fds(&self, into: &mut Vec<RawFd>) {
        self.under.poll_fds(into);
    }

    fn statistics(&mut self) -> NicStatistics {
        self.under.statistics()
    }
}
