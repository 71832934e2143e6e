//! Loopback: wires in memory, for tests and benches.
//!
//! Three of them, for three uses. [`Loopback::pair`] is a wire between two adapters: what one end
//! transmits the other receives, copied into a frame of its own as over a real wire, and the sender's
//! frame completes after that. [`Loopback::wire`] is the same with a [`Wire`] at the far end, through
//! which a test injects packets and takes what was sent. [`Generator`] is an endless source and sink:
//! it is what a dispatcher is measured on, so it does nothing but copy each packet into its frame.
//!
//! A wire waits where a real one loses: it holds a bounded number of packets, and an end without
//! empty frames leaves them there. An end whose peer is gone is an interface that is down: what it is
//! given is refused, counted and completed.
//!
//! Left out: delay, reordering and loss (layers stacked on a backend do such things).

mod generator;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use rtrb::{Consumer, Producer, RingBuffer};
use spine_abi::HandlerNumber;

use super::{ETHERNET_BYTES, Nic, NicStatistics};
use crate::buffer::{Frame, FrameMemory, HEADROOM, MemoryError};

pub use generator::Generator;

/// Readable while packets wait; rung and silenced once a burst, not once a packet.
#[derive(Debug)]
struct Doorbell {
    event: EventFd,
    rung: AtomicBool,
}

impl Doorbell {
    fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Self { event: EventFd::from_flags(flags)?, rung: AtomicBool::new(false) })
    }

    /// Makes it readable, and says how many system calls that took.
    fn ring(&self) -> u64 {
        if self.rung.swap(true, Ordering::AcqRel) {
            return 0;
        }
        // It cannot fail: a counter of one is far from overflowing.
        let _ = self.event.write(1);
        1
    }

    /// Silences it; the caller looks at its ring again afterwards, for what came in between.
    fn silence(&self) -> u64 {
        if !self.rung.load(Ordering::Relaxed) {
            return 0;
        }
        let _ = self.event.read();
        self.rung.swap(false, Ordering::AcqRel);
        1
    }
}

/// One end of a wire in memory.
#[derive(Debug)]
pub struct Loopback {
    name: String,
    memory: Arc<FrameMemory>,
    peer_memory: Arc<FrameMemory>,
    /// Our packets on their way; the peer holds the other end, as of the next three.
    outbound: Producer<Frame>,
    /// Our frames, read by the peer.
    returned: Consumer<Frame>,
    /// The peer's packets.
    inbound: Consumer<Frame>,
    /// The peer's frames, read by us.
    give_back: Producer<Frame>,
    doorbell: Arc<Doorbell>,
    peer_doorbell: Arc<Doorbell>,
    /// What the wire would not take, to be completed.
    refused: Vec<Frame>,
    empty: Vec<Frame>,
    capacity: usize,
    /// Frames in `outbound`, in `returned`, or with the peer.
    on_wire: usize,
    unflushed: usize,
    handler: HandlerNumber,
    counted: NicStatistics,
}

impl Loopback {
    /// A wire between two adapters, each with its interface's name and its frames' memory (which may
    /// be the same); it holds at most `capacity` packets each way.
    ///
    /// # Errors
    /// When the kernel has no event descriptors left.
    pub fn pair(
        left: (&str, Arc<FrameMemory>),
        right: (&str, Arc<FrameMemory>),
        capacity: usize,
    ) -> io::Result<(Self, Self)> {
        let (to_right, from_left) = RingBuffer::new(capacity);
        let (back_to_left, left_returned) = RingBuffer::new(capacity);
        let (to_left, from_right) = RingBuffer::new(capacity);
        let (back_to_right, right_returned) = RingBuffer::new(capacity);
        let left_bell = Arc::new(Doorbell::new()?);
        let right_bell = Arc::new(Doorbell::new()?);
        let left_end = Self {
            name: left.0.to_owned(),
            memory: Arc::clone(&left.1),
            peer_memory: Arc::clone(&right.1),
            outbound: to_right,
            returned: left_returned,
            inbound: from_right,
            give_back: back_to_right,
            doorbell: Arc::clone(&left_bell),
            peer_doorbell: Arc::clone(&right_bell),
            refused: Vec::new(),
            empty: Vec::with_capacity(capacity),
            capacity,
            on_wire: 0,
            unflushed: 0,
            handler: HandlerNumber::NONE,
            counted: NicStatistics::default(),
        };
        let right_end = Self {
            name: right.0.to_owned(),
            memory: right.1,
            peer_memory: left.1,
            outbound: to_left,
            returned: right_returned,
            inbound: from_left,
            give_back: back_to_left,
            doorbell: right_bell,
            peer_doorbell: left_bell,
            refused: Vec::new(),
            empty: Vec::with_capacity(capacity),
            capacity,
            on_wire: 0,
            unflushed: 0,
            handler: HandlerNumber::NONE,
            counted: NicStatistics::default(),
        };
        Ok((left_end, right_end))
    }

    /// An interface named `name` whose wire a test holds.
    ///
    /// # Errors
    /// [`MemoryError`] when there is no memory for the wire's own frames; a kernel without event
    /// descriptors is reported as one without memory, too.
    pub fn wire(
        name: &str,
        memory: Arc<FrameMemory>,
        capacity: usize,
    ) -> Result<(Self, Wire), MemoryError> {
        let frames = u32::try_from(capacity.saturating_mul(2)).unwrap_or(u32::MAX).max(1);
        let bytes = 4096;
        let (far, mut dealt) = FrameMemory::anonymous(frames, bytes, 1)?;
        let (near_end, far_end) = Self::pair((name, memory), ("wire", Arc::clone(&far)), capacity)
            .map_err(|source| MemoryError::Map { frames, bytes, source })?;
        let free = dealt.pop().unwrap_or_default();
        Ok((near_end, Wire { end: far_end, memory: far, free, burst: VecDeque::new() }))
    }

    /// Stamps this handler number on whatever it receives, as a classifier would.
    #[must_use]
    pub fn stamped(mut self, handler: HandlerNumber) -> Self {
        self.handler = handler;
        self
    }

    /// Copies a packet of the peer's into a frame of ours; gives the frame back if it does not fit.
    fn copy_in(&mut self, sent: &Frame, mut frame: Frame) -> Result<Frame, Frame> {
        let packet = self.peer_memory.packet(sent);
        if packet.len() > self.memory.packet_bytes() {
            return Err(frame);
        }
        self.memory.set_packet(&mut frame, HEADROOM, sent.len());
        self.memory.packet_mut(&mut frame).copy_from_slice(packet);
        frame.set_handler(self.handler);
        Ok(frame)
    }
}

impl Nic for Loopback {
    fn name(&self) -> &str {
        &self.name
    }

    fn mode(&self) -> &str {
        "loopback"
    }

    fn receive(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let mut count = 0;
        while count < most {
            let Some(frame) = self.empty.pop() else { break };
            let Ok(sent) = self.inbound.pop() else {
                self.empty.push(frame);
                self.counted.syscalls += self.doorbell.silence();
                if !self.inbound.is_empty() {
                    self.counted.syscalls += self.doorbell.ring();
                }
                break;
            };
            match self.copy_in(&sent, frame) {
                Ok(frame) => {
                    into.push(frame);
                    count += 1;
                }
                Err(frame) => {
                    self.empty.push(frame);
                    self.counted.oversized += 1;
                }
            }
            // There is room: the peer has at most `capacity` frames on the wire.
            let back = self.give_back.push(sent);
            debug_assert!(back.is_ok());
        }
        self.counted.received += count as u64;
        count
    }

    fn transmit(&mut self, from: &mut VecDeque<Frame>) -> usize {
        let mut count = 0;
        let down = self.outbound.is_abandoned();
        while let Some(frame) = from.front() {
            let runt = frame.len() < ETHERNET_BYTES;
            if !(runt || down) && self.on_wire == self.capacity {
                break;
            }
            let Some(frame) = from.pop_front() else { break };
            count += 1;
            if runt || down {
                self.counted.transmit_failed += 1;
                self.refused.push(frame);
                continue;
            }
            // There is room: `on_wire` counts what is in the ring, and more.
            let sent = self.outbound.push(frame);
            debug_assert!(sent.is_ok());
            self.on_wire += 1;
            self.unflushed += 1;
            self.counted.transmitted += 1;
        }
        count
    }

    fn unflushed(&self) -> usize {
        self.unflushed
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.unflushed > 0 {
            self.unflushed = 0;
            self.counted.syscalls += self.peer_doorbell.ring();
        }
        if self.outbound.is_abandoned() { Err(Errno::ENETDOWN.into()) } else { Ok(()) }
    }

    fn complete(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let mut count = self.refused.len().min(most);
        into.extend(self.refused.drain(..count));
        while count < most {
            let Ok(frame) = self.returned.pop() else { break };
            self.on_wire -= 1;
            into.push(frame);
            count += 1;
        }
        count
    }

    fn in_flight(&self) -> usize {
        self.on_wire + self.refused.len()
    }

    fn refill(&mut self, from: &mut Vec<Frame>) {
        let taken = (self.capacity - self.empty.len()).min(from.len());
        self.empty.extend(from.drain(from.len() - taken..));
    }

    fn poll_fd(&self) -> Option<RawFd> {
        Some(self.doorbell.event.as_raw_fd())
    }

    fn statistics(&mut self) -> NicStatistics {
        self.counted
    }
}

/// The far end of a wire, in a test's hands (and, if it likes, in another thread).
#[derive(Debug)]
pub struct Wire {
    end: Loopback,
    memory: Arc<FrameMemory>,
    free: Vec<Frame>,
    burst: VecDeque<Frame>,
}

impl Wire {
    /// Puts a packet on the wire; false when it is full.
    ///
    /// # Panics
    /// If the packet is shorter than an Ethernet header or longer than the wire's frames: 3840 bytes.
    pub fn inject(&mut self, packet: &[u8]) -> bool {
        let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
        assert!(length >= ETHERNET_BYTES && packet.len() <= self.memory.packet_bytes());
        self.end.complete(&mut self.free, usize::MAX);
        let Some(mut frame) = self.free.pop() else { return false };
        self.memory.set_packet(&mut frame, HEADROOM, length);
        self.memory.packet_mut(&mut frame).copy_from_slice(packet);
        self.burst.push_back(frame);
        let sent = self.end.transmit(&mut self.burst) == 1;
        self.free.extend(self.burst.pop_front());
        // The far end being gone is what `sent` says already.
        let _ = self.end.flush();
        sent
    }

    /// The next packet that was sent, if there is one.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.end.complete(&mut self.free, usize::MAX);
        self.end.refill(&mut self.free);
        let mut one = Vec::with_capacity(1);
        self.end.receive(&mut one, 1);
        let frame = one.pop()?;
        let packet = self.memory.packet(&frame).to_vec();
        self.free.push(frame);
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn station(frames: u32) -> (Arc<FrameMemory>, Vec<Frame>) {
        let (memory, mut dealt) = FrameMemory::anonymous(frames, 2048, 1).unwrap();
        (memory, dealt.pop().unwrap())
    }

    #[test]
    fn injected_packets_arrive_stamped_and_what_is_sent_can_be_taken() {
        let (memory, mut pool) = station(8);
        let (nic, mut wire) = Loopback::wire("lo0", Arc::clone(&memory), 4).unwrap();
        let mut nic = nic.stamped(HandlerNumber(7));
        nic.refill(&mut pool);
        assert!(wire.inject(b"fourteen bytes, and more"));
        let mut received = Vec::new();
        assert_eq!(nic.receive(&mut received, 64), 1);
        assert_eq!(memory.packet(&received[0]), b"fourteen bytes, and more");
        assert_eq!(received[0].handler(), HandlerNumber(7));
        let mut sending: VecDeque<Frame> = received.drain(..).collect();
        assert_eq!(nic.transmit(&mut sending), 1);
        assert_eq!(wire.take().as_deref(), Some(&b"fourteen bytes, and more"[..]));
        assert_eq!(wire.take(), None);
        assert_eq!(nic.complete(&mut pool, 64), 1);
        assert_eq!(nic.in_flight(), 0);
    }

    #[test]
    fn a_full_wire_takes_no_more_until_frames_complete() {
        let (memory, mut pool) = station(8);
        let (mut nic, mut wire) = Loopback::wire("lo0", Arc::clone(&memory), 4).unwrap();
        let mut sending: VecDeque<Frame> = pool.drain(..).collect();
        for frame in &mut sending {
            memory.set_packet(frame, HEADROOM, 60);
        }
        assert_eq!(nic.transmit(&mut sending), 4);
        assert_eq!(nic.transmit(&mut sending), 0);
        assert!(wire.take().is_some());
        assert_eq!(nic.transmit(&mut sending), 0, "read, but not completed");
        assert_eq!(nic.complete(&mut pool, 64), 1);
        assert_eq!(nic.transmit(&mut sending), 1);
    }

    #[test]
    fn an_end_without_frames_leaves_packets_on_the_wire_and_stays_readable() {
        let (memory, mut pool) = station(2);
        let (mut nic, mut wire) = Loopback::wire("lo0", memory, 4).unwrap();
        nic.refill(&mut pool);
        for _ in 0..3 {
            assert!(wire.inject(&[1; 60]));
        }
        let mut received = Vec::new();
        assert_eq!(nic.receive(&mut received, 64), 2);
        assert_eq!(nic.doorbell.event.read().ok(), Some(1), "one packet still waits");
        let _ = nic.doorbell.event.write(1);
        nic.refill(&mut received);
        assert_eq!(nic.receive(&mut pool, 64), 1);
        assert_eq!(nic.doorbell.event.read(), Err(Errno::EAGAIN));
    }

    #[test]
    fn a_generator_repeats_its_packets_up_to_the_limit() {
        let (memory, mut pool) = station(8);
        let packets = [vec![1u8; 60], vec![2u8; 129]];
        let mut nic = Generator::new("gen0", Arc::clone(&memory), &packets);
        nic.limit(3);
        let mut received = Vec::new();
        nic.refill(&mut pool);
        assert_eq!(nic.receive(&mut received, 64), 3);
        let lengths: Vec<u16> = received.iter().map(Frame::len).collect();
        assert_eq!(lengths, [60, 129, 60]);
        assert_eq!(memory.packet(&received[1]), packets[1]);
        let mut sending: VecDeque<Frame> = received.drain(..).collect();
        assert_eq!(nic.transmit(&mut sending), 3);
        assert_eq!(nic.complete(&mut pool, 2), 2);
        assert_eq!((nic.in_flight(), nic.receive(&mut received, 64)), (1, 0));
    }
}
