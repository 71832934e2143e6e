//! The paper's card as a backend: SPINE's runtime on a Myricom LANai 4, in a model's time.
//!
//! The card brings its event plan (`plan`) and its engines: a link that fills receive buffers while the
//! processor does something else, a host DMA that the processor starts and later finds done, and the
//! credit of the egress card. The dispatcher is the one that serves every other backend.
//!
//! What arrives takes a free receive buffer, or waits in the network (Myrinet has back pressure), of
//! which a bounded number does; beyond that the sender has lost it. A buffer is free again when its
//! packet is with the egress card, or dropped.
//!
//! Left out: contention for the card's memory (under 6 % of its cycles at these rates), and what a lost
//! packet would cost the processor (it is lost at the sender).

mod feed;
mod plan;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lanai_model::config::plan::{
    BUFFER_BYTES, RECEIVE_BUFFERS, RUNTIME_BYTES, SRAM_BYTES, UPSTREAM,
};
use spine_abi::HandlerNumber;
use spine_abi::event::EventPlan;

pub use self::feed::{Arrival, Feed, Uniform};
use self::plan::Action;
pub use self::plan::{Card, Way};
use super::{Engines, Nic, NicStatistics, Step};
use crate::buffer::{Frame, FrameMemory};
use crate::clock::Nanos;

/// The longest time, in nanoseconds, for which a packet stood in a buffer and none was taken note of:
/// readable while the card runs.
pub type Starvation = Arc<AtomicU64>;

/// A card and its wire.
pub struct Lanai<F> {
    name: String,
    memory: Arc<FrameMemory>,
    card: Card,
    plan: EventPlan,
    actions: Vec<Action>,
    feed: F,
    /// The handler of each packet, by its number on the wire.
    stamp: fn(u64) -> HandlerNumber,
    /// Free receive buffers, and empty frames to stand for them.
    buffers: usize,
    all_buffers: usize,
    empty: Vec<Frame>,
    /// Packets that wait in the network.
    upstream: VecDeque<Arrival>,
    upstream_limit: usize,
    /// Packets in buffers, for the runtime to take.
    received: VecDeque<Frame>,
    /// When each packet in a buffer that was not taken note of came there.
    unnoted: VecDeque<Nanos>,
    last_noted: Nanos,
    starved: Starvation,
    done: VecDeque<Frame>,
    counted: NicStatistics,
}

impl<F: Feed> Lanai<F> {
    /// A card on which the packets of `feed` arrive.
    pub fn new(name: &str, memory: Arc<FrameMemory>, card: Card, feed: F) -> Self {
        let (plan, actions) = card.plan();
        Self {
            name: name.to_owned(),
            memory,
            card,
            plan,
            actions,
            feed,
            stamp: |_| HandlerNumber::NONE,
            buffers: RECEIVE_BUFFERS,
            all_buffers: RECEIVE_BUFFERS,
            empty: Vec::with_capacity(RECEIVE_BUFFERS),
            upstream: VecDeque::with_capacity(UPSTREAM),
            upstream_limit: UPSTREAM,
            received: VecDeque::with_capacity(RECEIVE_BUFFERS),
            unnoted: VecDeque::with_capacity(RECEIVE_BUFFERS),
            last_noted: Nanos(0),
            starved: Starvation::default(),
            done: VecDeque::new(),
            counted: NicStatistics::default(),
        }
    }

    /// With so many receive buffers.
    #[must_use]
    pub fn with_buffers(mut self, buffers: usize) -> Self {
        (self.buffers, self.all_buffers) = (buffers, buffers);
        self
    }

    /// Stamps each packet with a handler number, as a classifier would: by its number on the wire.
    #[must_use]
    pub fn stamped(mut self, stamp: fn(u64) -> HandlerNumber) -> Self {
        self.stamp = stamp;
        self
    }

    /// How long receiving had to wait at the longest.
    pub fn starvation(&self) -> Starvation {
        Arc::clone(&self.starved)
    }

    /// Has packets arrive until `now`: into buffers, into the network before them, or lost.
    fn arrive(&mut self, now: Nanos) {
        while let Some(arrival) = self.feed.next(now) {
            self.take_buffers(now);
            if self.upstream.len() < self.upstream_limit || self.has_buffer() {
                self.upstream.push_back(arrival);
            } else {
                self.counted.receive_lost += 1;
            }
        }
        self.take_buffers(now);
    }

    fn has_buffer(&self) -> bool {
        self.buffers > 0 && !self.empty.is_empty()
    }

    fn take_buffers(&mut self, now: Nanos) {
        while self.has_buffer()
            && let Some(arrival) = self.upstream.pop_front()
            && let Some(mut frame) = self.empty.pop()
        {
            self.buffers -= 1;
            self.feed.fill(arrival.packet, &self.memory, &mut frame);
            frame.set_handler((self.stamp)(arrival.packet));
            self.received.push_back(frame);
            self.unnoted.push_back(now);
            self.counted.received += 1;
        }
    }

    fn note(&mut self, now: Nanos) {
        if let Some(since) = self.unnoted.pop_front() {
            let waited = now.since(since.max(self.last_noted));
            self.starved.fetch_max(waited, Ordering::Relaxed);
        }
        self.last_noted = now;
    }
}

impl<F: Feed> Engines for Lanai<F> {
    #[inline]
    fn received(&mut self, now: Nanos) -> usize {
        if self.feed.due() <= now || !self.upstream.is_empty() {
            self.arrive(now);
        }
        self.received.len()
    }

    fn step(&mut self, kind: usize, bytes: usize, now: Nanos) -> Step {
        let action = self.actions.get(kind).copied().unwrap_or(Action::Compute);
        let done = match action {
            Action::Compute => None,
            Action::Detect => {
                self.note(now);
                None
            }
            Action::FreeBuffer => {
                self.buffers = (self.buffers + 1).min(self.all_buffers);
                None
            }
            Action::SendData { .. } | Action::Send(_) | Action::AwaitCredit => {
                self.card.busy_ns(action, bytes).map(|nanos| Nanos(now.0 + nanos))
            }
        };
        Step { done, received: self.received(now) }
    }
}

impl<F: Feed> Nic for Lanai<F> {
    fn name(&self) -> &str {
        &self.name
    }

    fn mode(&self) -> &str {
        "lanai model"
    }

    fn plan(&self) -> &EventPlan {
        &self.plan
    }

    fn card_bytes(&self) -> Option<usize> {
        let used = self.all_buffers * BUFFER_BYTES + RUNTIME_BYTES;
        Some(SRAM_BYTES.saturating_sub(used))
    }

    fn engines(&mut self) -> Option<&mut dyn Engines> {
        Some(self)
    }

    fn receive(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let count = most.min(self.received.len());
        into.extend(self.received.drain(..count));
        count
    }

    fn transmit(&mut self, from: &mut VecDeque<Frame>) -> usize {
        let count = from.len();
        self.done.append(from);
        self.counted.transmitted += count as u64;
        count
    }

    fn complete(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let count = self.done.len().min(most);
        into.extend(self.done.drain(..count));
        count
    }

    fn in_flight(&self) -> usize {
        self.done.len()
    }

    fn refill(&mut self, from: &mut Vec<Frame>) {
        let taken = self.all_buffers.saturating_sub(self.empty.len()).min(from.len());
        self.empty.extend(from.drain(from.len() - taken..));
    }

    fn statistics(&mut self) -> NicStatistics {
        self.counted
    }
}
