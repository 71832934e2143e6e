//! Capture: writes what passes through another backend to a pcap file.
//!
//! The loop must never wait for a disk, so it copies packets into a bounded ring of bytes, and a
//! helper thread writes them out. What does not fit is counted, not waited for. The file has
//! nanosecond timestamps, read once a burst from the clock the caller brings: when a packet was
//! received, or handed to the backend for the wire.
//!
//! Left out: directions in the file (pcap has no place for them; capture one way at a time).

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, PcapError, TsResolution};
use rtrb::{Consumer, Producer, RingBuffer};
use spine_abi::Nanos;
use spine_abi::event::EventPlan;
use spine_abi::limits::{BURST, FRAME_BYTES};

use crate::buffer::{Frame, FrameMemory};
use crate::{Engines, Nic, NicStatistics};

/// What is captured, and how much may wait for the disk.
#[derive(Debug, Clone, Copy)]
pub struct CaptureOptions {
    /// Capture what is received.
    pub received: bool,
    /// Capture what is transmitted.
    pub transmitted: bool,
    /// Bytes kept of each packet, at most.
    pub snap_bytes: usize,
    /// Bytes that may wait for the helper thread.
    pub ring_bytes: usize,
}

impl Default for CaptureOptions {
    /// Both directions, whole packets, 8 MiB.
    fn default() -> Self {
        Self { received: true, transmitted: true, snap_bytes: FRAME_BYTES, ring_bytes: 8 << 20 }
    }
}

/// What became of the packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CaptureSummary {
    /// Packets in the file.
    pub written: u64,
    /// Packets that found the ring full, or that the disk did not take.
    pub missed: u64,
}

/// Why nothing, or no more, is captured.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the capture file {path}: {source}")]
pub struct CaptureError {
    path: PathBuf,
    source: io::Error,
}

/// Time since the Unix epoch by the machine's own clock: what a capture of real traffic wants.
pub fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Bytes in front of each packet in the ring: nanoseconds, length on the wire, length kept.
const RECORD_BYTES: usize = 16;

/// How long the helper sleeps when there is nothing to write: the ring has to last that long.
const NAP: Duration = Duration::from_millis(5);

/// A backend whose packets are also written to a file.
///
/// Dropping it writes what still waits; [`finish`](Self::finish) does the same and tells the result.
pub struct Capture<N: Nic> {
    inner: N,
    memory: Arc<FrameMemory>,
    options: CaptureOptions,
    clock: Box<dyn FnMut() -> Duration + Send>,
    ring: Producer<u8>,
    missed: u64,
    /// Packets on their way into the backend.
    burst: VecDeque<Frame>,
    /// Their records, which count only once the backend has taken the packet.
    staged: Vec<u8>,
    /// Where in `staged` each record ends.
    ends: Vec<usize>,
    helper: Option<Helper>,
}

struct Helper {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64, (u64, CaptureError)>>,
}

impl<N: Nic> fmt::Debug for Capture<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture")
            .field("interface", &self.inner.name())
            .field("options", &self.options)
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

impl<N: Nic> Capture<N> {
    /// Captures what passes through `inner`, whose frames are in `memory`, to a new file at `path`,
    /// with times from `clock` (since the Unix epoch; [`wall_clock`] for real traffic).
    ///
    /// # Errors
    /// [`CaptureError`] when the file cannot be made.
    pub fn new(
        inner: N,
        memory: Arc<FrameMemory>,
        path: &Path,
        options: CaptureOptions,
        clock: impl FnMut() -> Duration + Send + 'static,
    ) -> Result<Self, CaptureError> {
        let refused = |source| CaptureError { path: path.to_owned(), source };
        let header = PcapHeader {
            ts_resolution: TsResolution::NanoSecond,
            datalink: DataLink::ETHERNET,
            snaplen: u32::from(u16::MAX),
            ..PcapHeader::default()
        };
        let file = BufWriter::with_capacity(1 << 18, File::create(path).map_err(refused)?);
        let writer =
            PcapWriter::with_header(file, header).map_err(|e| refused(into_io_error(e)))?;
        let (ring, records) = RingBuffer::new(options.ring_bytes.max(RECORD_BYTES));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new()
            .name("spine-capture".to_owned())
            .spawn({
                let (stop, path) = (Arc::clone(&stop), path.to_owned());
                move || write_out(records, writer, &stop, path)
            })
            .map_err(refused)?;
        Ok(Self {
            inner,
            memory,
            options,
            clock: Box::new(clock),
            ring,
            missed: 0,
            burst: VecDeque::with_capacity(BURST),
            staged: Vec::with_capacity(BURST * (RECORD_BYTES + FRAME_BYTES)),
            ends: Vec::with_capacity(BURST),
            helper: Some(Helper { stop, thread }),
        })
    }

    /// The backend underneath.
    pub fn inner(&self) -> &N {
        &self.inner
    }

    /// Packets that found the ring full so far.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Writes what still waits and closes the file. Waits for the disk: not for the loop.
    ///
    /// # Errors
    /// [`CaptureError`] when the disk refused something; what came before it is in the file.
    pub fn finish(mut self) -> Result<CaptureSummary, CaptureError> {
        let written = match self.stop() {
            Some(result) => result.map_err(|(_, error)| error)?,
            None => 0,
        };
        Ok(CaptureSummary { written, missed: self.missed })
    }

    fn stop(&mut self) -> Option<Result<u64, (u64, CaptureError)>> {
        let helper = self.helper.take()?;
        helper.stop.store(true, Ordering::Release);
        helper.thread.thread().unpark();
        helper.thread.join().ok()
    }

    /// Appends the record of a packet.
    fn record(staged: &mut Vec<u8>, now: u64, packet: &[u8], snap_bytes: usize) {
        let kept = &packet[..packet.len().min(snap_bytes)];
        staged.extend_from_slice(&now.to_le_bytes());
        for length in [packet.len(), kept.len()] {
            // A packet fits into a frame of 4096 bytes.
            staged.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        }
        staged.extend_from_slice(kept);
    }

    /// Hands the first `count` staged records to the helper.
    fn commit(&mut self, count: usize) {
        let mut start = 0;
        for end in self.ends.drain(..).take(count) {
            if self.ring.push_entire_slice(&self.staged[start..end]).is_err() {
                self.missed += 1;
            }
            start = end;
        }
        self.staged.clear();
    }

    fn now(&mut self) -> u64 {
        u64::try_from((self.clock)().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl<N: Nic> Drop for Capture<N> {
    fn drop(&mut self) {
        if let Some(Err((_, error))) = self.stop() {
            tracing::warn!("{error}");
        }
    }
}

impl<N: Nic> Nic for Capture<N> {
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
        if self.options.received && count > 0 {
            let now = self.now();
            for batch in into[before..].chunks(BURST) {
                for frame in batch {
                    let packet = self.memory.packet(frame);
                    Self::record(&mut self.staged, now, packet, self.options.snap_bytes);
                    self.ends.push(self.staged.len());
                }
                self.commit(batch.len());
            }
        }
        count
    }

    fn arrivals(&self, into: &mut Vec<Option<Nanos>>) {
        self.inner.arrivals(into);
    }

    fn transmit(&mut self, from: &mut VecDeque<Frame>) -> usize {
        if !self.options.transmitted {
            return self.inner.transmit(from);
        }
        let mut count = 0;
        while !from.is_empty() {
            let now = self.now();
            for frame in from.drain(..from.len().min(BURST)) {
                let packet = self.memory.packet(&frame);
                Self::record(&mut self.staged, now, packet, self.options.snap_bytes);
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

    fn unflushed(&self) -> usize {
        self.inner.unflushed()
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

    fn is_stalled(&self) -> bool {
        self.inner.is_stalled()
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

/// The helper thread: moves records from the ring to the file until told to stop, and says how many.
fn write_out(
    mut records: Consumer<u8>,
    mut writer: PcapWriter<BufWriter<File>>,
    stop: &AtomicBool,
    path: PathBuf,
) -> Result<u64, (u64, CaptureError)> {
    let mut written = 0;
    let mut data = vec![0; FRAME_BYTES.max(4096)];
    loop {
        // Read before the ring: what came before "stop" is seen after it.
        let last = stop.load(Ordering::Acquire);
        while let Some((time, on_wire, kept)) = next_record(&mut records, &mut data) {
            let packet = PcapPacket::new(time, on_wire, &data[..kept]);
            if let Err(error) = writer.write_packet(&packet) {
                return Err((written, CaptureError { path, source: into_io_error(error) }));
            }
            written += 1;
        }
        if last {
            break;
        }
        std::thread::park_timeout(NAP);
    }
    match writer.into_writer().flush() {
        Ok(()) => Ok(written),
        Err(source) => Err((written, CaptureError { path, source })),
    }
}

/// Takes one record: its time, its length on the wire, and how much of it is in `data` now.
fn next_record(records: &mut Consumer<u8>, data: &mut Vec<u8>) -> Option<(Duration, u32, usize)> {
    let mut head = [0; RECORD_BYTES];
    records.pop_entire_slice(&mut head).ok()?;
    let time = Duration::from_nanos(spine_abi::bytes::u64_at(&head, 0)?);
    let on_wire = spine_abi::bytes::u32_at(&head, 8)?;
    let kept = usize::try_from(spine_abi::bytes::u32_at(&head, 12)?).ok()?;
    if kept > data.len() {
        data.resize(kept, 0);
    }
    // Head and packet were pushed in one piece.
    records.pop_entire_slice(&mut data[..kept]).ok()?;
    Some((time, on_wire, kept))
}

fn into_io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loopback::{Generator, Loopback};

    #[test]
    fn a_full_ring_is_counted_and_nobody_waits() {
        let path = std::env::temp_dir().join(format!("spine-capture-{}", std::process::id()));
        let (memory, mut dealt) = FrameMemory::anonymous(64, 2048, 1).unwrap();
        let mut pool = dealt.pop().unwrap();
        let source = Generator::new("gen0", Arc::clone(&memory), [[7u8; 100]]);
        // Room for one record, and a helper that naps: of a burst of 64 at least 60 are missed.
        let options = CaptureOptions { ring_bytes: 120, ..CaptureOptions::default() };
        let clock = || Duration::from_secs(1);
        let mut nic = Capture::new(source, memory, &path, options, clock).unwrap();
        nic.refill(&mut pool);
        let mut received = Vec::new();
        assert_eq!(nic.receive(&mut received, 64), 64);
        assert!(nic.missed() >= 60, "{nic:?}");
        let missed = nic.missed();
        let summary = nic.finish().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(summary, CaptureSummary { written: 64 - missed, missed });
    }

    #[test]
    fn packets_the_backend_does_not_take_are_not_captured_and_keep_their_order() {
        let path = std::env::temp_dir().join(format!("spine-capture-order-{}", std::process::id()));
        let (memory, mut dealt) = FrameMemory::anonymous(8, 2048, 1).unwrap();
        let (wire_end, _wire) = Loopback::wire("lo0", Arc::clone(&memory), 3).unwrap();
        let options = CaptureOptions::default();
        let clock = || Duration::from_secs(1);
        let mut nic = Capture::new(wire_end, Arc::clone(&memory), &path, options, clock).unwrap();
        let mut sending: VecDeque<Frame> = dealt.pop().unwrap().into();
        for (frame, length) in sending.iter_mut().zip(60..) {
            memory.set_packet(frame, 256, length);
        }
        assert_eq!(nic.transmit(&mut sending), 3);
        let left: Vec<u16> = sending.iter().map(Frame::len).collect();
        assert_eq!(left, [63, 64, 65, 66, 67]);
        let summary = nic.finish().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(summary, CaptureSummary { written: 3, missed: 0 });
    }

    #[test]
    fn a_file_that_cannot_be_made_is_one_sentence() {
        let (memory, _) = FrameMemory::anonymous(1, 2048, 1).unwrap();
        let source = Generator::new("gen0", Arc::clone(&memory), [[7u8; 60]]);
        let path = Path::new("/nonexistent/file.pcap");
        let options = CaptureOptions::default();
        let error = Capture::new(source, memory, path, options, wall_clock).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("cannot write the capture file /nonexistent/file.pcap: "),
            "{text}"
        );
    }
}
