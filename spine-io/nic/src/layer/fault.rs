//! Faults: a wire that loses, repeats, reorders and corrupts what is received, as often as it is told.
//!
//! For tests of what must survive a bad wire, where the kernel has no netem. The same seed makes the same
//! faults for the same packets. Only what is received suffers: stack it on both ends for both ways.
//!
//! A lost packet's frame goes back with those that were sent; a repeated packet needs an empty frame,
//! and is not repeated when none was lent.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::Arc;

use spine_abi::event::EventPlan;

use crate::buffer::{Frame, FrameMemory};
use crate::{Engines, Nic, NicStatistics};

/// Empty frames kept for repeating packets.
const SPARE: usize = 32;

/// How often each fault happens: one packet in so many, zero for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// The packet is lost.
    pub lose: u32,
    /// It arrives twice.
    pub repeat: u32,
    /// It arrives after the packets of the next receive.
    pub reorder: u32,
    /// One of its bits is flipped.
    pub corrupt: u32,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultStatistics {
    /// Packets lost.
    pub lost: u64,
    /// Packets that came twice.
    pub repeated: u64,
    /// Packets held back.
    pub reordered: u64,
    /// Packets with a bit flipped.
    pub corrupted: u64,
}

/// A backend whose received packets suffer.
#[derive(Debug)]
pub struct Fault<N: Nic> {
    inner: N,
    memory: Arc<FrameMemory>,
    faults: Faults,
    random: fastrand::Rng,
    arrived: Vec<Frame>,
    held: VecDeque<Frame>,
    lost: Vec<Frame>,
    spare: Vec<Frame>,
    counted: FaultStatistics,
}

impl<N: Nic> Fault<N> {
    /// Faults on top of `inner`, whose frames are in `memory`; the same `seed`, the same faults.
    pub fn new(inner: N, memory: Arc<FrameMemory>, faults: Faults, seed: u64) -> Self {
        Self {
            inner,
            memory,
            faults,
            random: fastrand::Rng::with_seed(seed),
            arrived: Vec::new(),
            held: VecDeque::new(),
            lost: Vec::new(),
            spare: Vec::new(),
            counted: FaultStatistics::default(),
        }
    }

    /// What happened so far.
    pub fn faults(&self) -> FaultStatistics {
        self.counted
    }

    fn happens(&mut self, one_in: u32) -> bool {
        one_in > 0 && self.random.u32(0..one_in) == 0
    }

    fn suffer(&mut self, mut frame: Frame, into: &mut Vec<Frame>) {
        if self.happens(self.faults.lose) {
            self.counted.lost += 1;
            self.lost.push(frame);
            return;
        }
        if self.happens(self.faults.corrupt) {
            let packet = self.memory.packet_mut(&mut frame);
            if !packet.is_empty() {
                let bit = self.random.usize(0..packet.len() * 8);
                packet[bit / 8] ^= 1 << (bit % 8);
                self.counted.corrupted += 1;
            }
        }
        if self.happens(self.faults.repeat)
            && let Some(mut copy) = self.spare.pop()
        {
            self.memory.set_packet(&mut copy, frame.offset(), frame.len());
            copy.set_handler(frame.handler());
            let packet = self.memory.packet(&frame);
            self.memory.packet_mut(&mut copy).copy_from_slice(packet);
            self.counted.repeated += 1;
            into.push(copy);
        }
        if self.happens(self.faults.reorder) {
            self.counted.reordered += 1;
            self.held.push_back(frame);
        } else {
            into.push(frame);
        }
    }
}

impl<N: Nic> Nic for Fault<N> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn mode(&self) -> &str {
        self.inner.mode()
    }

    fn plan(&self) -> &EventPlan {
        self.inner.plan()
    }

    fn card_bytes(&self) -> Option<usize> {
        self.inner.card_bytes()
    }

    fn engines(&mut self) -> Option<&mut dyn Engines> {
        self.inner.engines()
    }

    fn receive(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let before = into.len();
        // What was held back goes behind what comes now; room is kept for one repetition of each.
        let held = self.held.len().min(most);
        let mut arrived = std::mem::take(&mut self.arrived);
        self.inner.receive(&mut arrived, (most - held) / 2);
        let waited: Vec<Frame> = self.held.drain(..held).collect();
        for frame in arrived.drain(..) {
            self.suffer(frame, into);
        }
        self.arrived = arrived;
        into.extend(waited);
        into.len() - before
    }

    fn transmit(&mut self, from: &mut VecDeque<Frame>) -> usize {
        self.inner.transmit(from)
    }

    fn unflushed(&self) -> usize {
        // What is held back is owed: no descriptor tells of it.
        self.inner.unflushed() + self.held.len()
    }

    fn is_stalled(&self) -> bool {
        self.inner.is_stalled()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }

    fn complete(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let lost = self.lost.len().min(most);
        into.extend(self.lost.drain(..lost));
        lost + self.inner.complete(into, most - lost)
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight() + self.lost.len()
    }

    fn refill(&mut self, from: &mut Vec<Frame>) {
        if self.faults.repeat > 0 {
            let wanted = SPARE.saturating_sub(self.spare.len()).min(from.len() / 2);
            self.spare.extend(from.drain(from.len() - wanted..));
        }
        self.inner.refill(from);
    }

    fn poll_fd(&self) -> Option<RawFd> {
        self.inner.poll_fd()
    }

    fn poll_fds(&self, into: &mut Vec<RawFd>) {
        self.inner.poll_fds(into);
    }

    fn statistics(&mut self) -> NicStatistics {
        self.inner.statistics()
    }
}
