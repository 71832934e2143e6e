//! A generator: packets without a wire, for benches and tests that only want to have some.

use std::collections::VecDeque;
use std::sync::Arc;

use spine_abi::HandlerNumber;

use crate::buffer::{Frame, FrameMemory, HEADROOM};
use crate::{Nic, NicStatistics};

/// Packets are kept, and copied, in blocks of this many bytes: a cache line, and a copy whose length
/// the compiler knows.
const BLOCK: usize = 64;

/// Where a generator's packet is among its blocks.
#[derive(Debug, Clone, Copy)]
struct Template {
    first: usize,
    end: usize,
    length: u16,
}

/// An interface on which the same packets arrive for ever, and which swallows what is sent.
#[derive(Debug)]
pub struct Generator {
    name: String,
    memory: Arc<FrameMemory>,
    blocks: Vec<[u8; BLOCK]>,
    templates: Vec<Template>,
    next: usize,
    left: u64,
    empty: Vec<Frame>,
    done: VecDeque<Frame>,
    handler: HandlerNumber,
    counted: NicStatistics,
}

impl Generator {
    /// An interface on which `packets` arrive, over and over, in this order.
    ///
    /// # Panics
    /// If there are none, or one does not fit into a frame.
    pub fn new(
        name: &str,
        memory: Arc<FrameMemory>,
        packets: impl IntoIterator<Item: AsRef<[u8]>>,
    ) -> Self {
        let mut blocks = Vec::new();
        let mut templates = Vec::new();
        for packet in packets {
            let packet = packet.as_ref();
            assert!(packet.len() <= memory.packet_bytes(), "a packet is larger than a frame");
            let first = blocks.len();
            for piece in packet.chunks(BLOCK) {
                let mut block = [0; BLOCK];
                block[..piece.len()].copy_from_slice(piece);
                blocks.push(block);
            }
            let length = u16::try_from(packet.len()).expect("a frame has 4096 bytes at most");
            templates.push(Template { first, end: blocks.len(), length });
        }
        assert!(!templates.is_empty(), "a generator needs packets");
        Self {
            name: name.to_owned(),
            memory,
            blocks,
            templates,
            next: 0,
            left: u64::MAX,
            empty: Vec::new(),
            done: VecDeque::new(),
            handler: HandlerNumber::NONE,
            counted: NicStatistics::default(),
        }
    }

    /// Lets only this many more packets arrive.
    pub fn limit(&mut self, packets: u64) {
        self.left = packets;
    }

    /// Stamps this handler number on every packet, as a classifier would.
    #[must_use]
    pub fn stamped(mut self, handler: HandlerNumber) -> Self {
        self.handler = handler;
        self
    }
}

impl Nic for Generator {
    fn name(&self) -> &str {
        &self.name
    }

    fn mode(&self) -> &str {
        "generator"
    }

    fn receive(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let count = most.min(self.empty.len()).min(left);
        for mut frame in self.empty.drain(self.empty.len() - count..) {
            let template = self.templates[self.next];
            self.next = if self.next + 1 == self.templates.len() { 0 } else { self.next + 1 };
            self.memory.set_packet(&mut frame, HEADROOM, template.length);
            // The room is a whole number of blocks, so the padding of the last one stays in the frame.
            let (room, _) = self.memory.room_mut(&mut frame).as_chunks_mut::<BLOCK>();
            let blocks = &self.blocks[template.first..template.end];
            // Nearly always one; then the copy's length is known.
            if let ([to, ..], [from]) = (&mut *room, blocks) {
                *to = *from;
            } else {
                room.iter_mut().zip(blocks).for_each(|(to, from)| *to = *from);
            }
            frame.set_handler(self.handler);
            into.push(frame);
        }
        self.left -= count as u64;
        self.counted.received += count as u64;
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
        if count < self.done.len() {
            into.extend(self.done.drain(..count));
            return count;
        }
        // All of them as one piece of memory: a deque becomes a vector, and again a deque, for nothing.
        let mut done = Vec::from(std::mem::take(&mut self.done));
        into.append(&mut done);
        self.done = done.into();
        count
    }

    fn in_flight(&self) -> usize {
        self.done.len()
    }

    fn refill(&mut self, from: &mut Vec<Frame>) {
        // A burst at hand and one to follow: more would only spread over the cache.
        let taken = (2 * spine_abi::limits::BURST).saturating_sub(self.empty.len()).min(from.len());
        self.empty.extend(from.drain(from.len() - taken..));
    }

    fn statistics(&mut self) -> NicStatistics {
        self.counted
    }
}
