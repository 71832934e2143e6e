//! Several receive queues of one interface as one: a layer over a backend for each queue.
//!
//! A multi-queue card spreads packets over its queues; an adapter owns them all. Receiving goes round
//! the queues, so that a busy one does not keep the others waiting. Sending uses the first only: the
//! order of packets is kept, and one thread has no use for several transmit rings.
//!
//! Left out: one thread for each queue (an interface's adapter runs on one processor).

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;

use spine_abi::Nanos;
use spine_abi::event::EventPlan;

use crate::buffer::Frame;
use crate::{Engines, Nic, NicStatistics};

/// All queues of an interface.
#[derive(Debug)]
pub struct MultiQueue<N> {
    first: N,
    others: Vec<N>,
    turn: usize,
    refill_turn: usize,
    /// Which queues the last reception was from, and how many packets of each.
    received: Vec<(usize, usize)>,
}

impl<N: Nic> MultiQueue<N> {
    /// The queues as one interface, named and described by the first.
    pub fn new(first: N, others: Vec<N>) -> Self {
        let received = Vec::with_capacity(1 + others.len());
        Self { first, others, turn: 0, refill_turn: 0, received }
    }

    fn queue(&mut self, index: usize) -> &mut N {
        match index.checked_sub(1) {
            Some(other) => &mut self.others[other],
            None => &mut self.first,
        }
    }

    fn all(&self) -> impl Iterator<Item = &N> {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut N> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }
}

impl<N: Nic> Nic for MultiQueue<N> {
    fn name(&self) -> &str {
        self.first.name()
    }

    fn mode(&self) -> &str {
        self.first.mode()
    }

    fn plan(&self) -> &EventPlan {
        self.first.plan()
    }

    fn card_bytes(&self) -> Option<usize> {
        self.first.card_bytes()
    }

    fn engines(&mut self) -> Option<&mut dyn Engines> {
        self.first.engines()
    }

    fn receive(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let queues = 1 + self.others.len();
        let mut received = 0;
        self.received.clear();
        for _ in 0..queues {
            if received == most {
                break;
            }
            let turn = self.turn;
            let count = self.queue(turn).receive(into, most - received);
            self.received.push((turn, count));
            received += count;
            self.turn = (turn + 1) % queues;
        }
        received
    }

    fn arrivals(&self, into: &mut Vec<Option<Nanos>>) {
        for (queue, count) in &self.received {
            let end = into.len() + count;
            if let Some(queue) = self.all().nth(*queue) {
                queue.arrivals(into);
            }
            into.resize(end, None);
        }
    }

    fn transmit(&mut self, from: &mut VecDeque<Frame>) -> usize {
        self.first.transmit(from)
    }

    fn unflushed(&self) -> usize {
        self.first.unflushed()
    }

    fn is_stalled(&self) -> bool {
        self.first.is_stalled()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.first.flush()
    }

    fn complete(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        self.first.complete(into, most)
    }

    fn in_flight(&self) -> usize {
        self.first.in_flight()
    }

    fn refill(&mut self, from: &mut Vec<Frame>) {
        // When frames are short every queue is the first to get some in its turn.
        let queues = 1 + self.others.len();
        self.refill_turn = (self.refill_turn + 1) % queues;
        for offset in 0..queues {
            self.queue((self.refill_turn + offset) % queues).refill(from);
        }
    }

    fn poll_fds(&self, into: &mut Vec<RawFd>) {
        self.all().for_each(|queue| queue.poll_fds(into));
    }

    fn statistics(&mut self) -> NicStatistics {
        self.all_mut().map(Nic::statistics).fold(NicStatistics::default(), NicStatistics::plus)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::buffer::FrameMemory;
    use crate::loopback::Loopback;

    #[test]
    fn every_queue_gets_its_turn_and_sending_keeps_to_the_first() {
        let (memory, mut dealt) = FrameMemory::anonymous(64, 2048, 1).unwrap();
        let mut frames = dealt.pop().unwrap();
        let (first, mut wire) = Loopback::wire("first", Arc::clone(&memory), 8).unwrap();
        let (second, mut other) = Loopback::wire("second", Arc::clone(&memory), 8).unwrap();
        let mut nic = MultiQueue::new(first, vec![second]);
        nic.refill(&mut frames);
        for tag in 0..4_u8 {
            assert!(wire.inject(&[tag; 60]));
            assert!(other.inject(&[100 + tag; 60]));
        }
        let mut got = Vec::new();
        while nic.receive(&mut got, 2) > 0 {}
        let mut tags: Vec<u8> = got.iter().map(|frame| memory.packet(frame)[0]).collect();
        tags.sort_unstable();
        assert_eq!(tags, [0, 1, 2, 3, 100, 101, 102, 103]);
        assert_eq!(nic.transmit(&mut got.into()), 8);
        nic.flush().unwrap();
        assert_eq!(std::iter::from_fn(|| wire.take()).count(), 8);
        assert_eq!(nic.statistics().received, 8);
    }
}
