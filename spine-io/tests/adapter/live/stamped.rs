//! A layer that says when packets arrived, as wires do whose kernel stamps them.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use spine_abi::Nanos;
use spine_nic::buffer::Frame;
use spine_nic::{Nic, NicStatistics};

/// The times at which packets come, in their order: the far end's handle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stamps(Arc<Mutex<VecDeque<Nanos>>>);

impl Stamps {
    /// The next packet that has no time yet comes at this one.
    pub(crate) fn push(&self, at: Nanos) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(at);
    }

    fn pop(&self) -> Option<Nanos> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// A wire whose packets have a time.
pub(crate) struct Stamped<N> {
    wire: N,
    stamps: Stamps,
    arrived: Vec<Option<Nanos>>,
}

impl<N: Nic> Stamped<N> {
    pub(crate) fn new(wire: N, stamps: Stamps) -> Self {
        Self { wire, stamps, arrived: Vec::new() }
    }
}

impl<N: Nic> Nic for Stamped<N> {
    fn name(&self) -> &str {
        self.wire.name()
    }

    fn mode(&self) -> &str {
        self.wire.mode()
    }

    fn receive(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let count = self.wire.receive(into, most);
        self.arrived.clear();
        self.arrived.extend((0..count).map(|_| self.stamps.pop()));
        count
    }

    fn arrivals(&self, into: &mut Vec<Option<Nanos>>) {
        into.extend_from_slice(&self.arrived);
    }

    fn transmit(&mut self, from: &mut VecDeque<Frame>) -> usize {
        self.wire.transmit(from)
    }

    fn unflushed(&self) -> usize {
        self.wire.unflushed()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wire.flush()
    }

    fn complete(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        self.wire.complete(into, most)
    }

    fn in_flight(&self) -> usize {
        self.wire.in_flight()
    }

    fn refill(&mut self, from: &mut Vec<Frame>) {
        self.wire.refill(from);
    }

    fn statistics(&mut self) -> NicStatistics {
        self.wire.statistics()
    }
}
