//! Network interfaces: one trait, one backend a file, layers of the same trait stacked on top.
//!
//! [`Nic`] moves [`Frame`]s between an adapter and a wire. A backend never allocates on the way and
//! never blocks; it tells what file descriptor becomes readable when there is something to do. A
//! frame given to a backend is the backend's until it gives it back, received or completed; what it
//! still has when it is dropped goes with the memory.
//!
//! Left out: packets larger than a frame.

pub mod buffer;
pub mod checksum;
pub mod clock;
pub mod layer;
pub mod loopback;
pub mod netlink;
pub mod open;
pub mod packet;
pub mod punt;
pub mod schedule;
pub mod xdp;

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;

use spine_abi::event::{Class, EventKind, EventPlan, Stage};
use spine_abi::{Nanos, Reason};

use crate::buffer::Frame;

/// What a backend has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NicStatistics {
    /// Packets received.
    pub received: u64,
    /// Packets handed to the wire.
    pub transmitted: u64,
    /// Packets the driver or a full or empty ring lost before we saw them.
    pub receive_lost: u64,
    /// Packets larger than a frame, thrown away.
    pub oversized: u64,
    /// Packets the wire refused.
    pub transmit_failed: u64,
    /// System calls made.
    pub syscalls: u64,
    /// How often a model in real time was so far behind that it left time out.
    pub late: u64,
    /// How much time that was, in nanoseconds.
    pub left_out: u64,
}

impl NicStatistics {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            received: self.received + other.received,
            transmitted: self.transmitted + other.transmitted,
            receive_lost: self.receive_lost + other.receive_lost,
            oversized: self.oversized + other.oversized,
            transmit_failed: self.transmit_failed + other.transmit_failed,
            syscalls: self.syscalls + other.syscalls,
            late: self.late + other.late,
            left_out: self.left_out + other.left_out,
        }
    }
}

/// Where a packet ended that no wire gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was dropped.
    Dropped(Reason),
    /// The kernel's own stack has it.
    ToKernel(Reason),
}

/// A network interface as an adapter sees it.
pub trait Nic: Send {
    /// The interface's name.
    fn name(&self) -> &str;

    /// How packets reach it, for people: "af_xdp zero-copy", "af_packet", ...
    fn mode(&self) -> &str;

    /// The steps its work is broken into.
    fn plan(&self) -> &EventPlan {
        &PACKET_PLAN
    }

    /// Bytes of a card's own memory that are left for extensions; `None` where they are in the host's.
    fn card_bytes(&self) -> Option<usize> {
        None
    }

    /// The engines behind a plan in a model's time; `None` where time is measured.
    fn engines(&mut self) -> Option<&mut dyn Engines> {
        None
    }

    /// Moves at most `most` received packets to the end of `into`, and says how many.
    fn receive(&mut self, into: &mut Vec<Frame>, most: usize) -> usize;

    /// When each packet of the last [`receive`](Self::receive) arrived, in its order and by the real clock
    /// ([`Monotonic`](crate::clock::Monotonic)), however late it was received; fewer, or nothing, where the
    /// wire does not tell. A time and not an age: who asks knows some time of before and not what it is now.
    fn arrivals(&self, into: &mut Vec<Option<Nanos>>) {
        let _ = into;
    }

    /// Takes packets from the front of `from` for the wire, as many as fit now, and says how many.
    /// They may wait for [`flush`](Self::flush).
    fn transmit(&mut self, from: &mut VecDeque<Frame>) -> usize;

    /// Packets that wait for a flush.
    fn unflushed(&self) -> usize {
        0
    }

    /// Whether the wire has refused everything for now: it is down or gone. What is transmitted then
    /// may not leave for long.
    fn is_stalled(&self) -> bool {
        false
    }

    /// Has the wire look at what waits.
    ///
    /// # Errors
    /// What the interface said, other than "busy, again later" (which leaves packets unflushed).
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Moves at most `most` frames whose packets have left to the end of `into`, and says how many.
    fn complete(&mut self, into: &mut Vec<Frame>, most: usize) -> usize;

    /// Frames given to [`transmit`](Self::transmit) and not yet completed.
    fn in_flight(&self) -> usize;

    /// Takes empty frames from the end of `from` to receive into, as many as it can use.
    fn refill(&mut self, from: &mut Vec<Frame>);

    /// Told of each packet that its adapter drops or gives to the kernel: for a layer that shows packets.
    fn ended(&mut self, packet: &[u8], end: End) {
        let _ = (packet, end);
    }

    /// Becomes readable when a packet has arrived; `None` when only polling helps.
    fn poll_fd(&self) -> Option<RawFd> {
        None
    }

    /// Everything that becomes readable when a packet has arrived.
    fn poll_fds(&self, into: &mut Vec<RawFd>) {
        into.extend(self.poll_fd());
    }

    /// What was counted so far.
    fn statistics(&mut self) -> NicStatistics;
}

/// What works beside the processor of a model: engines, whose time the events of its plan start and wait
/// for.
pub trait Engines {
    /// How many packets have been received by `now` and not been taken with [`Nic::receive`].
    fn received(&mut self, now: Nanos) -> usize;

    /// The backend's part of an event, as it ends at `now`; `bytes` is the length of the packet being
    /// sent (zero in other stages).
    fn step(&mut self, kind: usize, bytes: usize, now: Nanos) -> Step;

    /// Begins a turn at `wall`, when the adapter's time is `now`; `idle` says that it had nothing to do.
    /// An experiment's time goes where the caller says.
    fn begin(&mut self, wall: Nanos, now: Nanos, idle: bool) -> Span {
        let _ = idle;
        Span { from: now, until: wall, drains: false }
    }

    /// Ends a turn at `now`, and says in how many nanoseconds of the wall's the next one has something to
    /// do; `None`: not before something comes from elsewhere.
    fn end(&mut self, now: Nanos, idle: bool) -> Option<u64> {
        let _ = (now, idle);
        None
    }
}

/// How far a turn goes in a model's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The adapter's time at its beginning: later than at the end of the last, where nothing happened in
    /// between.
    pub from: Nanos,
    /// The time at which it ends.
    pub until: Nanos,
    /// Whether it ends earlier, when nothing is left to do.
    pub drains: bool,
}

/// What a backend says at the end of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// If the event started an engine: the time at which it will be done. What follows in the chain
    /// waits for it.
    pub done: Option<Nanos>,
    /// As [`Engines::received`].
    pub received: usize,
}

/// A packet shorter than its Ethernet header is no packet: no backend hands it to the wire.
pub const ETHERNET_BYTES: u16 = spine_headers::in_u16(spine_headers::ethernet::BYTES);

impl<N: Nic + ?Sized> Nic for Box<N> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn mode(&self) -> &str {
        (**self).mode()
    }

    fn plan(&self) -> &EventPlan {
        (**self).plan()
    }

    fn card_bytes(&self) -> Option<usize> {
        (**self).card_bytes()
    }

    fn engines(&mut self) -> Option<&mut dyn Engines> {
        (**self).engines()
    }

    fn receive(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        (**self).receive(into, most)
    }

    fn arrivals(&self, into: &mut Vec<Option<Nanos>>) {
        (**self).arrivals(into);
    }

    fn transmit(&mut self, from: &mut VecDeque<Frame>) -> usize {
        (**self).transmit(from)
    }

    fn unflushed(&self) -> usize {
        (**self).unflushed()
    }

    fn is_stalled(&self) -> bool {
        (**self).is_stalled()
    }

    fn flush(&mut self) -> io::Result<()> {
        (**self).flush()
    }

    fn complete(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        (**self).complete(into, most)
    }

    fn in_flight(&self) -> usize {
        (**self).in_flight()
    }

    fn refill(&mut self, from: &mut Vec<Frame>) {
        (**self).refill(from);
    }

    fn ended(&mut self, packet: &[u8], end: End) {
        (**self).ended(packet, end);
    }

    fn poll_fd(&self) -> Option<RawFd> {
        (**self).poll_fd()
    }

    fn poll_fds(&self, into: &mut Vec<RawFd>) {
        (**self).poll_fds(into);
    }

    fn statistics(&mut self) -> NicStatistics {
        (**self).statistics()
    }
}

/// The plan of every backend that moves packets by bursts on a general-purpose processor.
pub static PACKET_PLAN: EventPlan = EventPlan::new(
    "packet",
    &[
        EventKind::measured("receive", Stage::Receive, Class::In),
        EventKind::measured("dispatch", Stage::Dispatch, Class::On),
        EventKind::measured("handle", Stage::Handle, Class::On),
        EventKind::measured("send", Stage::Send, Class::Out),
        EventKind::measured("arrive", Stage::Arrive, Class::Out),
        EventKind::measured("complete", Stage::Complete, Class::Out),
        EventKind::measured("control", Stage::Control, Class::Control),
        EventKind::measured("idle", Stage::Idle, Class::In),
    ],
    spine_abi::limits::BURST,
    crate::schedule::FINISH_FIRST,
    0,
);
