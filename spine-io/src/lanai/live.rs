//! The paper's card on a real wire: a layer over another backend.
//!
//! In real time the card's time is the wall's. A packet arrives at the time the wire says it did
//! ([`Nic::arrivals`]; where a wire says nothing, when it was taken from it), waits for a buffer, and is worked on by
//! the events of the card's plan; what the card sends leaves when the wall's time has come to the end of
//! the event that sent it. So a card of 1998 can be pinged and measured. When the machine was too busy to
//! run it in time, the card catches up or leaves time out (`timeline`).
//!
//! At [`Speed::Max`] the card's time is its own and runs as fast as the host does: nothing is waited for,
//! packets stay on the wire until there is a buffer, and none is lost for want of one.
//!
//! Egress is on the peer's own processor (the `egress_*` events, derived), which polls its own wire. The
//! card's memory bounds what can be loaded, as in an experiment.
//!
//! Left out: the link's own time (3.6 us for 576 bytes; a packet counts from when all of it is there, and
//! leaves when the event that sends it ends).

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;

use spine_abi::Nanos;
use spine_abi::event::EventPlan;
use spine_abi::limits::BURST;
use spine_nic::buffer::Frame;
use spine_nic::{Engines, Nic, NicStatistics, Span, Step};

use super::costs::BUFFER_BYTES;
use super::hardware::Hardware;
use super::intake::Intake;
use super::plan::Card;
use super::timeline::Timeline;

/// Whose time a card goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speed {
    /// The wall's: as fast as the card was.
    Real,
    /// Its own: as fast as the host can.
    Max,
}

/// Packets that were taken from the wire before their time has come, at most.
const PENDING: usize = 8 * BURST;
/// Packets on their way to the wire at most.
const LEAVING: usize = 4 * BURST;
/// How far a card goes in a turn at full speed, in nanoseconds: some hundred packets.
const STRETCH: u64 = 10_000_000;
/// When to look again at a wire that takes nothing for now, in nanoseconds.
const RETRY: u64 = 500_000;

/// A card over a wire.
pub struct Live<N> {
    wire: N,
    mode: String,
    hardware: Hardware,
    speed: Speed,
    time: Timeline,
    /// How far this turn goes.
    until: Nanos,
    intake: Intake<Frame>,
    /// Packets from the wire, each with the time at which all of it is there.
    pending: VecDeque<(Nanos, Frame)>,
    /// Packets in buffers, for the runtime to take.
    received: VecDeque<Frame>,
    /// What the event that runs sends, and what was sent, with the time at which it leaves.
    sending: VecDeque<Frame>,
    leaving: VecDeque<(Nanos, Frame)>,
    /// What the wire is given.
    outgoing: VecDeque<Frame>,
    /// Empty frames, for the runtime to take back.
    done: Vec<Frame>,
    burst: Vec<Frame>,
    arrivals: Vec<Option<Nanos>>,
    lost: u64,
    oversized: u64,
    refused: u64,
}

impl<N: Nic> Live<N> {
    /// A card on this wire.
    pub fn new(wire: N, card: Card, speed: Speed) -> Self {
        let at = match speed {
            Speed::Real => "",
            Speed::Max => " at full speed",
        };
        Self {
            mode: format!("lanai model{at} over {}", wire.mode()),
            wire,
            hardware: Hardware::new(card),
            speed,
            time: Timeline::default(),
            until: Nanos(0),
            intake: Intake::default(),
            pending: VecDeque::with_capacity(PENDING + BURST),
            received: VecDeque::with_capacity(BURST),
            sending: VecDeque::with_capacity(BURST),
            leaving: VecDeque::with_capacity(LEAVING),
            outgoing: VecDeque::with_capacity(LEAVING),
            done: Vec::with_capacity(BURST),
            burst: Vec::with_capacity(BURST),
            arrivals: Vec::with_capacity(BURST),
            lost: 0,
            oversized: 0,
            refused: 0,
        }
    }

    /// Takes what the wire has, each packet with the time at which it came; `now` is the card's time of
    /// this moment.
    fn listen(&mut self, now: Nanos) {
        while self.pending.len() < PENDING {
            let count = self.wire.receive(&mut self.burst, BURST);
            self.arrivals.clear();
            if self.speed == Speed::Real {
                self.wire.arrivals(&mut self.arrivals);
            }
            for (position, frame) in self.burst.drain(..).enumerate() {
                if usize::from(frame.len()) > BUFFER_BYTES {
                    self.oversized += 1;
                    self.done.push(frame);
                    continue;
                }
                let arrival = self.arrivals.get(position).copied().flatten();
                let at = arrival.map_or(now, |wall| self.time.at(wall));
                let before = self.pending.back().map_or(at, |(before, _)| *before);
                self.pending.push_back((at.max(before), frame));
            }
            if count < BURST {
                return;
            }
        }
    }

    /// Has packets arrive until `now`: into buffers, into the network before them, or lost.
    fn arrive(&mut self, now: Nanos) {
        self.take_buffers(now);
        while self.pending.front().is_some_and(|(at, _)| *at <= now) {
            let has_room = self.intake.has_room() || self.intake.has_buffer();
            if !has_room && self.speed == Speed::Max {
                return;
            }
            let Some((_, frame)) = self.pending.pop_front() else { return };
            if has_room {
                self.intake.wait(frame);
                self.take_buffers(now);
            } else {
                self.lost += 1;
                self.done.push(frame);
            }
        }
    }

    fn take_buffers(&mut self, now: Nanos) {
        while let Some(frame) = self.intake.take(now) {
            self.received.push_back(frame);
        }
    }

    /// The span of a turn in real time. A card that had nothing to do looks again at the end of the poll
    /// in which something arrived: the polls before need not be run one by one.
    fn real_span(&mut self, wall: Nanos, now: Nanos, idle: bool) -> Span {
        let target = self.time.at(wall);
        let arrival = self.pending.front().map_or(target, |(at, _)| (*at).min(target));
        let current = if idle { arrival.max(now) } else { now };
        let (until, left_out) = self.time.reach(wall, current);
        if left_out > 0 {
            self.pending.iter_mut().for_each(|(at, _)| at.0 = at.0.saturating_sub(left_out));
        }
        let poll = self.hardware.poll_ns();
        let polls = if idle { until.min(current).since(now).div_ceil(poll) } else { 0 };
        Span { from: Nanos(now.0 + polls * poll), until, drains: false }
    }

    /// Gives the wire what leaves by `now`.
    fn let_out(&mut self, now: Nanos) {
        while self.leaving.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, frame)) = self.leaving.pop_front()
        {
            self.outgoing.push_back(frame);
        }
        if self.outgoing.is_empty() {
            return;
        }
        self.wire.transmit(&mut self.outgoing);
        if self.wire.is_stalled() {
            self.refused += self.outgoing.len() as u64;
            self.done.extend(self.outgoing.drain(..));
        }
    }
}

impl<N: Nic> Engines for Live<N> {
    #[inline]
    fn received(&mut self, now: Nanos) -> usize {
        if self.pending.front().is_some_and(|(at, _)| *at <= now) || self.intake.has_waiting() {
            self.arrive(now);
        }
        self.received.len()
    }

    fn step(&mut self, kind: usize, bytes: usize, now: Nanos) -> Step {
        let done = self.hardware.end_of(kind, bytes, now, &mut self.intake);
        self.leaving.extend(self.sending.drain(..).map(|frame| (now, frame)));
        Step { done, received: self.received(now) }
    }

    fn begin(&mut self, wall: Nanos, now: Nanos, idle: bool) -> Span {
        let span = match self.speed {
            Speed::Real => {
                self.listen(self.time.at(wall));
                self.real_span(wall, now, idle)
            }
            Speed::Max => {
                self.listen(now);
                Span { from: now, until: Nanos(now.0 + STRETCH), drains: true }
            }
        };
        self.until = span.until;
        span
    }

    fn end(&mut self, now: Nanos, idle: bool) -> Option<u64> {
        let (until, busy) = match self.speed {
            Speed::Real => (self.until, !idle),
            Speed::Max => (Nanos(u64::MAX), !idle || !self.pending.is_empty()),
        };
        self.let_out(until);
        if busy {
            return Some(now.since(until));
        }
        let next = [self.pending.front(), self.leaving.front()].into_iter().flatten();
        let next = next.map(|(at, _)| at.since(until)).min();
        if self.outgoing.is_empty() { next } else { Some(next.unwrap_or(RETRY).min(RETRY)) }
    }
}

impl<N: Nic> Nic for Live<N> {
    fn name(&self) -> &str {
        self.wire.name()
    }

    fn mode(&self) -> &str {
        &self.mode
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
        let waiting = self.sending.len() + self.leaving.len() + self.outgoing.len();
        let count = LEAVING.saturating_sub(waiting).min(from.len());
        self.sending.extend(from.drain(..count));
        count
    }

    fn unflushed(&self) -> usize {
        self.wire.unflushed()
    }

    fn is_stalled(&self) -> bool {
        self.wire.is_stalled()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.wire.flush()
    }

    fn complete(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let count = self.done.len().min(most);
        into.extend(self.done.drain(..count));
        count + self.wire.complete(into, most - count)
    }

    fn in_flight(&self) -> usize {
        let here = self.sending.len() + self.leaving.len() + self.outgoing.len() + self.done.len();
        here + self.wire.in_flight()
    }

    fn refill(&mut self, from: &mut Vec<Frame>) {
        self.wire.refill(from);
    }

    fn poll_fd(&self) -> Option<RawFd> {
        self.wire.poll_fd()
    }

    fn poll_fds(&self, into: &mut Vec<RawFd>) {
        self.wire.poll_fds(into);
    }

    fn statistics(&mut self) -> NicStatistics {
        let wire = self.wire.statistics();
        NicStatistics {
            received: wire.received.saturating_sub(self.lost + self.oversized),
            oversized: wire.oversized + self.oversized,
            receive_lost: wire.receive_lost + self.lost,
            transmit_failed: wire.transmit_failed + self.refused,
            late: self.time.late(),
            left_out: self.time.left_out(),
            ..wire
        }
    }
}
