//! A card's receive buffers, and the packets that wait in the network before them.
//!
//! Myrinet has back pressure: a packet without a buffer waits on the way, and so many do; beyond that the
//! sender has lost it. A buffer is taken when a packet is there, and is free again when the packet is with
//! the egress card, or dropped.
//!
//! `T` stands for a packet that is not in a buffer yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use spine_abi::Nanos;

use super::costs::{BUFFER_BYTES, RECEIVE_BUFFERS, UPSTREAM};

/// The longest time, in nanoseconds, for which a packet stood in a buffer and none was taken note of:
/// readable while the card runs.
pub type Starvation = Arc<AtomicU64>;

/// Buffers, and what waits for one.
#[derive(Debug)]
pub(super) struct Intake<T> {
    free: usize,
    all: usize,
    upstream: VecDeque<T>,
    /// When each packet in a buffer that was not taken note of came there.
    unnoted: VecDeque<Nanos>,
    last_noted: Nanos,
    starved: Starvation,
}

impl<T> Default for Intake<T> {
    fn default() -> Self {
        Self {
            free: RECEIVE_BUFFERS,
            all: RECEIVE_BUFFERS,
            upstream: VecDeque::with_capacity(UPSTREAM),
            unnoted: VecDeque::with_capacity(RECEIVE_BUFFERS),
            last_noted: Nanos(0),
            starved: Starvation::default(),
        }
    }
}

impl<T> Intake<T> {
    /// Another number of buffers, all of them free.
    pub(super) fn set_buffers(&mut self, buffers: usize) {
        (self.free, self.all) = (buffers, buffers);
    }

    /// How many buffers there are.
    pub(super) fn buffers(&self) -> usize {
        self.all
    }

    /// Bytes of the card's memory that they take.
    pub(super) fn bytes(&self) -> usize {
        self.all * BUFFER_BYTES
    }

    /// How long receiving had to wait at the longest.
    pub(super) fn starvation(&self) -> Starvation {
        Arc::clone(&self.starved)
    }

    /// Whether a buffer is free.
    #[inline]
    pub(super) fn has_buffer(&self) -> bool {
        self.free > 0
    }

    /// Whether a packet waits in the network.
    #[inline]
    pub(super) fn has_waiting(&self) -> bool {
        !self.upstream.is_empty()
    }

    /// Whether one more packet can wait in the network.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.upstream.len() < UPSTREAM
    }

    /// A packet waits.
    #[inline]
    pub(super) fn wait(&mut self, packet: T) {
        self.upstream.push_back(packet);
    }

    /// Puts the packet that has waited longest into a buffer.
    #[inline]
    pub(super) fn take(&mut self, now: Nanos) -> Option<T> {
        if !self.has_buffer() {
            return None;
        }
        let packet = self.upstream.pop_front()?;
        self.free -= 1;
        self.unnoted.push_back(now);
        Some(packet)
    }

    /// A buffer is free again.
    pub(super) fn release(&mut self) {
        self.free = (self.free + 1).min(self.all);
    }

    /// The processor has taken note of a packet.
    pub(super) fn note(&mut self, now: Nanos) {
        if let Some(since) = self.unnoted.pop_front() {
            let waited = now.since(since.max(self.last_noted));
            self.starved.fetch_max(waited, Ordering::Relaxed);
        }
        self.last_noted = now;
    }
}
