//! The paper's card as a backend: SPINE's runtime on a Myricom LANai 4, in a model's time.
//!
//! The card brings its event plan (`plan`) and its engines: a link that fills receive buffers (`intake`)
//! while the processor does something else, a host DMA that the processor starts and later finds done,
//! and the credit of the egress card (`hardware`). The dispatcher is the one that serves every other
//! backend.
//!
//! [`Lanai`] is a card on which the packets of a [`Feed`] arrive, in a time that only the model moves: for
//! experiments that repeat exactly. [`Live`] is the same card on a real wire, in real time or as fast as
//! the host can.
//!
//! Left out: contention for the card's memory (under 6 % of its cycles at these rates), and what a lost
//! packet would cost the processor (it is lost at the sender).

pub mod costs;
mod feed;
mod hardware;
mod intake;
mod live;
mod plan;
mod timeline;

use std::collections::VecDeque;
use std::sync::Arc;

use self::costs::RECEIVE_BUFFERS;
use spine_abi::HandlerNumber;
use spine_abi::event::EventPlan;

pub use self::feed::{Arrival, Feed, Uniform};
use self::hardware::Hardware;
use self::intake::Intake;
pub use self::intake::Starvation;
pub use self::live::{Live, Speed};
pub use self::plan::{Card, Way};
use spine_abi::Nanos;
use spine_nic::buffer::{Frame, FrameMemory};
use spine_nic::{Engines, Nic, NicStatistics, Step};

/// A card and its wire.
pub struct Lanai<F> {
    name: String,
    memory: Arc<FrameMemory>,
    hardware: Hardware,
    feed: F,
    /// The handler of each packet, by its number on the wire.
    stamp: fn(u64) -> HandlerNumber,
    intake: Intake<Arrival>,
    /// Empty frames to stand for free buffers.
    empty: Vec<Frame>,
    /// Packets in buffers, for the runtime to take.
    received: VecDeque<Frame>,
    done: VecDeque<Frame>,
    counted: NicStatistics,
}

impl<F: Feed> Lanai<F> {
    /// A card on which the packets of `feed` arrive.
    pub fn new(name: &str, memory: Arc<FrameMemory>, card: Card, feed: F) -> Self {
        Self {
            name: name.to_owned(),
            memory,
            hardware: Hardware::new(card),
            feed,
            stamp: |_| HandlerNumber::NONE,
            intake: Intake::default(),
            empty: Vec::with_capacity(RECEIVE_BUFFERS),
            received: VecDeque::with_capacity(RECEIVE_BUFFERS),
            done: VecDeque::new(),
            counted: NicStatistics::default(),
        }
    }

    /// With so many receive buffers.
    #[must_use]
    pub fn with_buffers(mut self, buffers: usize) -> Self {
        self.intake.set_buffers(buffers);
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
        self.intake.starvation()
    }

    /// Has packets arrive until `now`: into buffers, into the network before them, or lost.
    fn arrive(&mut self, now: Nanos) {
        while let Some(arrival) = self.feed.next(now) {
            self.take_buffers(now);
            if self.intake.has_room() || self.has_buffer() {
                self.intake.wait(arrival);
            } else {
                self.counted.receive_lost += 1;
            }
        }
        self.take_buffers(now);
    }

    fn has_buffer(&self) -> bool {
        self.intake.has_buffer() && !self.empty.is_empty()
    }

    fn take_buffers(&mut self, now: Nanos) {
        while self.has_buffer()
            && let Some(arrival) = self.intake.take(now)
            && let Some(mut frame) = self.empty.pop()
        {
            self.feed.fill(arrival.packet, &self.memory, &mut frame);
            frame.set_handler((self.stamp)(arrival.packet));
            self.received.push_back(frame);
            self.counted.received += 1;
        }
    }
}

impl<F: Feed> Engines for Lanai<F> {
    #[inline]
    fn received(&mut self, now: Nanos) -> usize {
        if self.feed.due() <= now || self.intake.has_waiting() && self.has_buffer() {
            self.arrive(now);
        }
        self.received.len()
    }

    fn step(&mut self, kind: usize, bytes: usize, now: Nanos) -> Step {
        let done = self.hardware.end_of(kind, bytes, now, &mut self.intake);
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
        self.hardware.plan()
    }

    fn card_bytes(&self) -> Option<usize> {
        Some(self.hardware.free_bytes(&self.intake))
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
        let taken = self.intake.buffers().saturating_sub(self.empty.len()).min(from.len());
        self.empty.extend(from.drain(from.len() - taken..));
    }

    fn statistics(&mut self) -> NicStatistics {
        self.counted
    }
}
