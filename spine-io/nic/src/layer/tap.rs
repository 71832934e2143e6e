//! A tap: shows what passes through another backend to whoever asks for it, while it runs.
//!
//! Made once for each interface and almost always off: then a burst costs one look at a flag. Switched on, packets are copied
//! into a bounded ring of bytes, each with what became of it (received, sent, dropped or given to the kernel, and why), and
//! whoever asked reads the ring in a thread of his own. What does not fit is counted and not even copied: the loop never waits, and
//! a reader that sleeps costs it a look at the ring for each packet.
//!
//! To be the outermost layer of a stack: what became of a packet its owner tells the backend it has ([`Nic::ended`]).
//!
//! Left out: files and their formats; [`capture`](super::capture) writes its own.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};
use spine_abi::event::EventPlan;
use spine_abi::limits::{BURST, FRAME_BYTES};
use spine_abi::{Nanos, Reason, bytes};

use crate::buffer::{Frame, FrameMemory};
use crate::{End, Engines, Nic, NicStatistics};

/// Bytes in front of each packet in the ring: nanoseconds, length on the wire, length kept, what became of it, and why.
const RECORD_BYTES: usize = 18;
const RECEIVED: u8 = 0;
const SENT: u8 = 1;
const DROPPED: u8 = 2;
const TO_KERNEL: u8 = 3;

/// What became of a packet that is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It came from the wire.
    Received,
    /// The wire took it.
    Sent,
    /// It ended here.
    Ended(End),
}

/// One packet that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// When, since the Unix epoch.
    pub time: Duration,
    /// What became of it.
    pub fate: Fate,
    /// How long it was.
    pub length: u32,
    /// Its first bytes, as many as were asked for.
    pub bytes: Vec<u8>,
}

/// What a tap and its readers share.
#[derive(Debug, Default)]
struct Shared {
    on: AtomicBool,
    /// The ring of the newest reader, until the tap has fetched it.
    waiting: Mutex<Option<Writer>>,
}

#[derive(Debug)]
struct Writer {
    ring: Producer<u8>,
    snap_bytes: usize,
    missed: Arc<AtomicU64>,
}

/// Switches the tap of one interface on.
#[derive(Debug, Clone)]
pub struct TapSwitch {
    name: String,
    shared: Arc<Shared>,
}

impl TapSwitch {
    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins to show packets, at most `snap_bytes` of each, with `ring_bytes` for what is not read yet. Who read before
    /// gets no more.
    pub fn open(&self, snap_bytes: usize, ring_bytes: usize) -> TapReader {
        let (ring, records) = RingBuffer::new(ring_bytes.max(RECORD_BYTES + FRAME_BYTES));
        let missed = Arc::new(AtomicU64::new(0));
        let writer = Writer { ring, snap_bytes, missed: Arc::clone(&missed) };
        *self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
        self.shared.on.store(true, Ordering::Release);
        TapReader { name: self.name.clone(), shared: Arc::clone(&self.shared), records, missed }
    }
}

/// Reads what one interface's tap shows. Dropped, it switches the tap off.
#[derive(Debug)]
pub struct TapReader {
    name: String,
    shared: Arc<Shared>,
    records: Consumer<u8>,
    missed: Arc<AtomicU64>,
}

impl TapReader {
    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next packet, if one waits.
    pub fn take(&mut self) -> Option<Shown> {
        let mut head = [0; RECORD_BYTES];
        self.records.pop_entire_slice(&mut head).ok()?;
        let kept = usize::try_from(bytes::u32_at(&head, 12)?).ok()?;
        let mut packet = vec![0; kept];
        // Head and packet were pushed in one piece.
        self.records.pop_entire_slice(&mut packet).ok()?;
        let reason = Reason::from_number(head[17]).unwrap_or(Reason::Extension);
        let fate = match head[16] {
            RECEIVED => Fate::Received,
            SENT => Fate::Sent,
            DROPPED => Fate::Ended(End::Dropped(reason)),
            _ => Fate::Ended(End::ToKernel(reason)),
        };
        let time = Duration::from_nanos(bytes::u64_at(&head, 0)?);
        Some(Shown { time, fate, length: bytes::u32_at(&head, 8)?, bytes: packet })
    }

    /// Packets that found the ring full so far.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

impl Drop for TapReader {
    fn drop(&mut self) {
        self.shared.on.store(false, Ordering::Release);
    }
}

/// A backend whose packets can be shown.
pub struct Tap<N: Nic> {
    inner: N,
    memory: Arc<FrameMemory>,
    clock: Box<dyn FnMut() -> Duration + Send>,
    shared: Arc<Shared>,
    writer: Option<Writer>,
    /// Packets on their way into the backend, and their records, which count only once it has taken the packet.
    burst: VecDeque<Frame>,
    staged: Vec<u8>,
    /// Where in `staged` each record ends.
    ends: Vec<usize>,
}

impl<N: Nic> Tap<N> {
    /// Can show what passes through `inner`, whose frames are in `memory`, with times from `clock` (since the Unix epoch).
    pub fn new(
        inner: N,
        memory: Arc<FrameMemory>,
        clock: impl FnMut() -> Duration + Send + 'static,
    ) -> (Self, TapSwitch) {
        let shared = Arc::new(Shared::default());
        let switch = TapSwitch { name: inner.name().to_owned(), shared: Arc::clone(&shared) };
        let clock = Box::new(clock);
        let (burst, staged, ends) = (VecDeque::new(), Vec::new(), Vec::new());
        (Self { inner, memory, clock, shared, writer: None, burst, staged, ends }, switch)
    }

    /// Whether somebody wants to see packets; fetches the ring where he is new.
    #[inline]
    fn is_on(&mut self) -> bool {
        self.shared.on.load(Ordering::Relaxed) && self.find_writer()
    }

    #[cold]
    fn find_writer(&mut self) -> bool {
        if self.writer.as_ref().is_some_and(|writer| writer.ring.is_abandoned()) {
            self.writer = None;
        }
        // Whoever holds the lock is about to let go of it; then it is found with the next burst.
        if let Ok(mut waiting) = self.shared.waiting.try_lock()
            && let Some(writer) = waiting.take()
        {
            self.writer = Some(writer);
        }
        self.writer.is_some()
    }

    fn now(&mut self) -> u64 {
        u64::try_from((self.clock)().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Shows the staged packets up to `count`, all of the same fate.
    fn commit(&mut self, count: usize) {
        let mut start = 0;
        for end in self.ends.drain(..).take(count) {
            if let Some(writer) = &mut self.writer
                && writer.ring.push_entire_slice(&self.staged[start..end]).is_err()
            {
                writer.missed.fetch_add(1, Ordering::Relaxed);
            }
            start = end;
        }
        self.staged.clear();
    }

    /// Shows one packet.
    fn show(&mut self, now: u64, fate: (u8, u8), packet: &[u8]) {
        let Some(writer) = &mut self.writer else { return };
        let kept = &packet[..packet.len().min(writer.snap_bytes)];
        if writer.ring.slots() < RECORD_BYTES + kept.len() {
            writer.missed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let pushed = writer.ring.push_entire_slice(&head(now, fate, packet.len(), kept.len()));
        // There is room for both.
        let pushed = pushed.and_then(|()| writer.ring.push_entire_slice(kept));
        debug_assert!(pushed.is_ok());
    }

    fn transmit_shown(&mut self, from: &mut VecDeque<Frame>) -> usize {
        let mut count = 0;
        while !from.is_empty() {
            let now = self.now();
            let snap_bytes = self.writer.as_ref().map_or(0, |writer| writer.snap_bytes);
            for frame in from.drain(..from.len().min(BURST)) {
                let packet = self.memory.packet(&frame);
                let kept = &packet[..packet.len().min(snap_bytes)];
                self.staged.extend_from_slice(&head(now, (SENT, 0), packet.len(), kept.len()));
                self.staged.extend_from_slice(kept);
                self.ends.push(self.staged.len());
                self.burst.push_back(frame);
            }
            let taken = self.inner.transmit(&mut self.burst);
            self.commit(taken);
            count += taken;
            if !self.burst.is_empty() {
                while let Some(frame) = self.burst.pop_back() {
                    from.push_front(frame);
                }
                break;
            }
        }
        count
    }
}

fn head(now: u64, (kind, reason): (u8, u8), on_wire: usize, kept: usize) -> [u8; RECORD_BYTES] {
    let mut head = [0; RECORD_BYTES];
    head[0..8].copy_from_slice(&now.to_le_bytes());
    // A packet fits into a frame of 4096 bytes.
    head[8..12].copy_from_slice(&u32::try_from(on_wire).unwrap_or(u32::MAX).to_le_bytes());
    head[12..16].copy_from_slice(&u32::try_from(kept).unwrap_or(u32::MAX).to_le_bytes());
    head[16] = kind;
    head[17] = reason;
    head
}

impl<N: Nic> Nic for Tap<N> {
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
        let count = self.inner.receive(into, most);
        if count > 0 && self.is_on() {
            let now = self.now();
            let memory = Arc::clone(&self.memory);
            for frame in &into[before..] {
                self.show(now, (RECEIVED, 0), memory.packet(frame));
            }
        }
        count
    }

    fn arrivals(&self, into: &mut Vec<Option<Nanos>>) {
        self.inner.arrivals(into);
    }

    fn transmit(&mut self, from: &mut VecDeque<Frame>) -> usize {
        if from.is_empty() || !self.is_on() {
            return self.inner.transmit(from);
        }
        self.transmit_shown(from)
    }

    fn unflushed(&self) -> usize {
        self.inner.unflushed()
    }

    fn is_stalled(&self) -> bool {
        self.inner.is_stalled()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }

    fn complete(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        self.inner.complete(into, most)
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }

    fn refill(&mut self, from: &mut Vec<Frame>) {
        self.inner.refill(from);
    }

    fn ended(&mut self, packet: &[u8], end: End) {
        if self.is_on() {
            let now = self.now();
            let fate = match end {
                End::Dropped(reason) => (DROPPED, reason as u8),
                End::ToKernel(reason) => (TO_KERNEL, reason as u8),
            };
            self.show(now, fate, packet);
        }
        self.inner.ended(packet, end);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loopback::{Generator, Loopback};

    const ROOM: usize = 1 << 20;

    fn clock() -> Duration {
        Duration::from_secs(7)
    }

    fn all(reader: &mut TapReader) -> Vec<Shown> {
        std::iter::from_fn(|| reader.take()).collect()
    }

    #[test]
    fn what_is_received_sent_dropped_and_handed_over_is_shown_in_its_order_while_somebody_looks() {
        let (memory, mut dealt) = FrameMemory::anonymous(16, 2048, 1).unwrap();
        let (end, mut wire) = Loopback::wire("lo0", Arc::clone(&memory), 4).unwrap();
        let (mut nic, switch) = Tap::new(end, Arc::clone(&memory), clock);
        let mut frames = dealt.pop().unwrap();
        let mut sending: VecDeque<Frame> = frames.drain(..2).collect();
        for (frame, length) in sending.iter_mut().zip(60..) {
            memory.set_packet(frame, 256, length);
        }
        nic.refill(&mut frames);

        assert_eq!(nic.transmit(&mut sending.drain(..1).collect()), 1, "nobody looks");
        let mut reader = switch.open(64, ROOM);
        assert_eq!(nic.transmit(&mut sending), 1);
        assert!(wire.inject(&[5; 70]));
        let mut received = Vec::new();
        assert_eq!(nic.receive(&mut received, 8), 1);
        nic.ended(&[9; 100], End::Dropped(Reason::Martian));
        nic.ended(&[8; 20], End::ToKernel(Reason::TtlExceeded));

        let seen = all(&mut reader);
        let short: Vec<_> =
            seen.iter().map(|shown| (shown.fate, shown.length, shown.bytes.len())).collect();
        assert_eq!(
            short,
            [
                (Fate::Sent, 61, 61),
                (Fate::Received, 70, 64),
                (Fate::Ended(End::Dropped(Reason::Martian)), 100, 64),
                (Fate::Ended(End::ToKernel(Reason::TtlExceeded)), 20, 20),
            ]
        );
        assert!(seen.iter().all(|shown| shown.time == clock()));

        drop(reader);
        nic.ended(&[9; 100], End::Dropped(Reason::Martian));
        let mut again = switch.open(64, ROOM);
        nic.ended(&[7; 30], End::Dropped(Reason::Blackhole));
        let seen = all(&mut again);
        assert_eq!(seen.len(), 1, "a new reader sees what comes after it: {seen:?}");
        assert_eq!(seen[0].fate, Fate::Ended(End::Dropped(Reason::Blackhole)));
    }

    #[test]
    fn a_reader_that_sleeps_costs_packets_and_they_are_counted() {
        let (memory, mut dealt) = FrameMemory::anonymous(64, 2048, 1).unwrap();
        let source = Generator::new("gen0", Arc::clone(&memory), [[7_u8; 1000]]);
        let (mut nic, switch) = Tap::new(source, memory, clock);
        nic.refill(&mut dealt.pop().unwrap());
        let mut reader = switch.open(FRAME_BYTES, 0);
        let mut received = Vec::new();
        assert_eq!(nic.receive(&mut received, 64), 64);
        let seen = all(&mut reader).len() as u64;
        assert!(seen > 0 && reader.missed() > 0);
        assert_eq!(seen + reader.missed(), 64);
    }
}
