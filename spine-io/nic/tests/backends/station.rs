//! One end of a wire with its frames: what an adapter does around its backend, as a test wants it.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spine_headers::{ethernet, ipv4, protocol};
use spine_nic::buffer::{Frame, FrameMemory, Pool};
use spine_nic::{Nic, NicStatistics};

/// How long something that happens at once may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// The link-layer address of a station.
pub(crate) fn mac(station: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, station]
}

/// An Ethernet frame of `bytes` (42 at least) with a UDP packet that a router would forward.
pub(crate) fn packet(from: [u8; 6], to: [u8; 6], bytes: usize, tag: u8) -> Vec<u8> {
    let mut packet: Vec<u8> =
        (0..=255).cycle().take(bytes).map(|at: u8| at.wrapping_mul(31) ^ tag).collect();
    let ether_type = ethernet::ether_type::IPV4;
    let ethernet = ethernet::Fields { destination: to, source: from, ether_type };
    let (from, to) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 1));
    let payload = u16::try_from(bytes - ethernet::BYTES - ipv4::BYTES).unwrap();
    let fields = ipv4::Fields::new(from, to, protocol::UDP, payload);
    let ip = ipv4::Fields { identification: tag.into(), keep_whole: false, ..fields };
    packet[..ethernet::BYTES].copy_from_slice(&ethernet.to_bytes());
    packet[ethernet::BYTES..][..ipv4::BYTES].copy_from_slice(&ip.to_bytes());
    packet
}

/// A burst of them, each of another size and content.
pub(crate) fn packets(from: [u8; 6], to: [u8; 6], count: usize, burst: usize) -> Vec<Vec<u8>> {
    let size = |at: usize| 60 + (burst * 37 + at * 101) % 1400;
    let tag = |at: usize| u8::try_from((burst + at) % 256).expect("less than 256");
    (0..count).map(|at| packet(from, to, size(at), tag(at))).collect()
}

/// A backend with its frames.
pub(crate) struct Station {
    nic: Box<dyn Nic>,
    memory: Arc<FrameMemory>,
    pool: Pool,
    received: Vec<Frame>,
    /// Frames in the pool while nothing is under way.
    resting: usize,
}

impl Station {
    pub(crate) fn new(nic: Box<dyn Nic>, memory: Arc<FrameMemory>, frames: Vec<Frame>) -> Self {
        let home = frames.first().map_or(0, Frame::home);
        let pool = Pool::new(home, frames);
        let mut station = Self { nic, memory, pool, received: Vec::new(), resting: 0 };
        station.nic.refill(station.pool.frames_mut());
        station.resting = station.pool.free();
        assert!(station.resting > 64, "the backend took all frames: nothing left to send with");
        station
    }

    /// Sends all of them.
    pub(crate) fn send(&mut self, packets: &[Vec<u8>]) {
        self.try_send(packets).expect("the interface is up");
    }

    /// Sends them, until the interface says no.
    pub(crate) fn try_send(&mut self, packets: &[Vec<u8>]) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut sending = VecDeque::new();
        for packet in packets {
            let mut frame = self.pool.frames_mut().pop().expect("frames are left to send with");
            self.memory.set_packet(&mut frame, 256, u16::try_from(packet.len()).unwrap());
            self.memory.packet_mut(&mut frame).copy_from_slice(packet);
            sending.push_back(frame);
        }
        while !sending.is_empty() || self.nic.unflushed() > 0 {
            self.nic.transmit(&mut sending);
            self.nic.flush()?;
            self.tend();
            assert!(Instant::now() < deadline, "{} packets are not taken", sending.len());
        }
        // Some backends say only at a flush that what they took is refused.
        self.nic.flush()
    }

    /// Receives `count` packets of the tests' own, or as many as come.
    pub(crate) fn collect(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        self.collect_while(&mut packets, |packets| packets.len() < count);
        // One more than expected is as wrong as one less.
        self.receive(&mut packets);
        packets
    }

    /// Receives up to and with `last`, or as many as come.
    pub(crate) fn collect_until(&mut self, last: &[u8]) -> Vec<Vec<u8>> {
        let mut packets: Vec<Vec<u8>> = Vec::new();
        self.collect_while(&mut packets, |packets| {
            packets.last().is_none_or(|packet| packet.as_slice() != last)
        });
        packets
    }

    fn collect_while(&mut self, packets: &mut Vec<Vec<u8>>, more: impl Fn(&[Vec<u8>]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while more(packets) && Instant::now() < deadline {
            if self.receive(packets) == 0 {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    }

    fn receive(&mut self, packets: &mut Vec<Vec<u8>>) -> usize {
        let count = self.nic.receive(&mut self.received, 64);
        assert_eq!(count, self.received.len());
        for frame in self.received.drain(..) {
            let packet = self.memory.packet(&frame);
            // The kernel says things of its own on a new link.
            if packet.get(26..30) == Some(&[192, 0, 2, 1]) {
                packets.push(packet.to_vec());
            }
            assert!(self.pool.put(frame).is_none(), "received into a frame of another home");
        }
        self.tend();
        count
    }

    /// Receives whatever is there and forgets it.
    pub(crate) fn drain(&mut self) {
        std::thread::sleep(Duration::from_millis(20));
        while self.receive(&mut Vec::new()) > 0 {}
    }

    /// Takes back frames and gives empty ones.
    fn tend(&mut self) {
        let mut back = Vec::new();
        self.nic.complete(&mut back, 64);
        for frame in back {
            assert!(self.pool.put(frame).is_none(), "completed a frame of another home");
        }
        self.nic.refill(self.pool.frames_mut());
    }

    /// Waits until nothing is in flight and every frame is where it was at first.
    pub(crate) fn settle(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.nic.in_flight() > 0 || self.pool.free() != self.resting {
            self.drain();
            assert!(
                Instant::now() < deadline,
                "{} frames in flight, {} of {} in the pool",
                self.nic.in_flight(),
                self.pool.free(),
                self.resting
            );
        }
    }

    pub(crate) fn unflushed(&self) -> usize {
        self.nic.unflushed()
    }

    pub(crate) fn statistics(&mut self) -> NicStatistics {
        self.nic.statistics()
    }

    pub(crate) fn mode(&self) -> &str {
        self.nic.mode()
    }

    #[allow(unsafe_code, reason = "a raw descriptor is borrowed from the backend that owns it")]
    pub(crate) fn poll_fd(&self) -> BorrowedFd<'_> {
        let fd = self.nic.poll_fd().expect("there is something to wait for");
        // SAFETY: the descriptor is the backend's, which is borrowed as long as the answer.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }
}
