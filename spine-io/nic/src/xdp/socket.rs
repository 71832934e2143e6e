//! One AF_XDP socket: one queue of one interface.
//!
//! The way out needs care. In copy mode the kernel transmits only inside a system call, up to a budget
//! of packets, and says "again" when there are more, when the socket's send buffer is used up by
//! packets that a slow receiver has not freed, or when the driver is busy; such packets stay
//! unflushed, and the loop flushes again in its next turn. An interface that is down keeps its packets
//! in the ring; there is nothing to do for them until more come, so they do not count as unflushed.
//!
//! In copy mode a packet that finds no empty frame, a full receive ring, or is larger than a frame is
//! lost before we see it; the three are told apart by nobody and counted as one: `receive_lost`.
//!
//! Left out: packets of several buffers, busy polling, metadata for transmission.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};
use std::{fmt, io};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{MsgFlags, recv, send, sockopt};
use spine_abi::limits::BURST;
use spine_abi::{Nanos, metadata};
use xsk_rs::config::BindFlags;

use super::attach::AttachMode;
use super::sys::{self, Progress, Queues};
use super::{SharedUmem, XdpError};
use crate::buffer::Frame;
use crate::clock::Monotonic;
use crate::packet::raise;
use crate::{ETHERNET_BYTES, Nic, NicStatistics};

/// How long a queue may stay taken: the kernel is still clearing up for 3 to 31 ms after a process
/// that owned it was killed.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is tried meanwhile.
const RETRY: Duration = Duration::from_millis(5);
/// Packets one system call may transmit in copy mode, where the kernel lets us say.
const TRANSMIT_BUDGET: u32 = 256;
/// Attempts to transmit through an interface that is down before it is asked again.
const ATTEMPTS: u32 = 64;
/// Looks in vain of which the classifier hears of one: its word is in a line of the cache that it reads for every packet.
const VAIN: u32 = 8;
/// Bytes of transmitted packets that receivers may sit on, where we are allowed that much.
const SEND_BUFFER: usize = 8 << 20;

/// What to bind to, and how.
#[derive(Debug, Clone, Copy)]
pub struct XdpOptions<'a> {
    /// The interface's name.
    pub interface: &'a str,
    /// Its queue, from zero.
    pub queue: u32,
    /// How the classifier is attached there.
    pub attached: AttachMode,
    /// Whether to try without copies first. All sockets of one UMEM work alike: where the first can do
    /// without copies and a later one cannot, binding the later one fails, and everything is to be
    /// made again with this switched off.
    pub zero_copy: bool,
}

/// How packets get between the driver and our frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XdpMode {
    /// The driver uses our frames.
    ZeroCopy,
    /// The kernel copies, at the driver.
    Copy,
    /// The kernel copies, behind a packet buffer of its own.
    Generic,
}

impl XdpMode {
    /// The name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ZeroCopy => "af_xdp zero-copy",
            Self::Copy => "af_xdp copy",
            Self::Generic => "af_xdp generic",
        }
    }
}

impl fmt::Display for XdpMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A queue of an interface, reached through an AF_XDP socket.
pub struct XdpNic {
    interface: String,
    queue: u32,
    mode: XdpMode,
    umem: SharedUmem,
    queues: Queues,
    /// Packets in the transmit ring, as of the last look.
    untaken: usize,
    /// Frames given to the kernel for transmission and not completed.
    lent: usize,
    /// The interface refused to look at the ring, and nothing has been added since.
    stalled: bool,
    /// Attempts to transmit into a full ring.
    attempts: u32,
    /// What the wire would not take, to be completed.
    refused: Vec<Frame>,
    /// When packets of the last reception came, as far as the classifier says so.
    arrived: Vec<Option<Nanos>>,
    /// Where it is said that somebody looks into the ring, if anybody wants to know.
    progress: Option<Progress>,
    /// Looks without a packet since the last with one.
    vain: u32,
    counted: NicStatistics,
}

impl fmt::Debug for XdpNic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XdpNic")
            .field("interface", &self.interface)
            .field("queue", &self.queue)
            .field("mode", &self.mode)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl XdpNic {
    /// Binds a socket to a queue: without copies where that is asked for and possible, else with.
    ///
    /// A queue that is taken is tried again for a second, since the kernel needs a moment to clear up
    /// after a process that was killed.
    ///
    /// # Errors
    /// Any [`XdpError`] but `Memory` and `Umem`, each a sentence for the person who named the
    /// interface.
    pub fn bind(umem: &SharedUmem, options: &XdpOptions<'_>) -> Result<Self, XdpError> {
        let interface = options.interface.to_owned();
        let queues = super::queues(options.interface)?;
        if options.queue >= queues {
            return Err(XdpError::NoQueue { interface, queue: options.queue, queues });
        }
        let generic = options.attached == AttachMode::Generic;
        let without = (options.zero_copy && !generic).then_some(BindFlags::XDP_ZEROCOPY);
        let mut refusal = None;
        for flags in without.into_iter().chain([BindFlags::XDP_COPY]) {
            match bind_patiently(umem, options, flags | BindFlags::XDP_USE_NEED_WAKEUP)? {
                Ok(queues) => return Ok(Self::bound(umem, options, queues)),
                Err(error) => refusal = Some(error),
            }
        }
        let queue = options.queue;
        let source = refusal.unwrap_or_else(|| io::ErrorKind::Unsupported.into());
        Err(match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EBUSY) => XdpError::Taken { interface, queue },
            Some(Errno::ENETDOWN) => XdpError::Down { interface },
            Some(Errno::ENODEV) => XdpError::NoInterface { interface },
            Some(Errno::EPERM | Errno::EACCES) => XdpError::Permission,
            // The flags are those of the first socket for all that follow it.
            Some(Errno::EOPNOTSUPP) => XdpError::MixedModes { interface },
            _ => XdpError::Socket { interface, queue, source },
        })
    }

    fn bound(umem: &SharedUmem, options: &XdpOptions<'_>, queues: Queues) -> Self {
        let socket = queues.fd();
        let zero_copy = sys::is_zero_copy(socket).unwrap_or(false);
        let mode = match options.attached {
            _ if zero_copy => XdpMode::ZeroCopy,
            AttachMode::Native => XdpMode::Copy,
            AttachMode::Generic => XdpMode::Generic,
        };
        // An older kernel has no such option and keeps to 32 packets a call: slower, and no error.
        let _ = sys::set_transmit_budget(socket, TRANSMIT_BUDGET);
        raise(&socket, SEND_BUFFER, sockopt::SndBufForce, sockopt::SndBuf);
        // libxdp makes sockets that children inherit; a child that did would hold the queue.
        let _ = fcntl(socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        Self {
            interface: options.interface.to_owned(),
            queue: options.queue,
            mode,
            umem: umem.clone(),
            queues,
            untaken: 0,
            lent: 0,
            stalled: false,
            attempts: 0,
            refused: Vec::with_capacity(BURST),
            arrived: Vec::with_capacity(BURST),
            progress: None,
            vain: 0,
            counted: NicStatistics::default(),
        }
    }

    /// From here on the classifier is told that somebody looks into the ring.
    pub fn set_progress(&mut self, progress: Progress) {
        self.progress = Some(progress);
    }

    /// Says that the ring was looked into: each time that something was there, and now and then. Whoever waits for packets looks
    /// that often before it sleeps and after.
    fn note_look(&mut self, found: usize) {
        self.vain = if found > 0 { 0 } else { self.vain.wrapping_add(1) };
        if self.vain.is_multiple_of(VAIN)
            && let Some(progress) = &self.progress
        {
            progress.note_look();
        }
    }

    /// The queue it is bound to.
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// The mode in force.
    pub fn xdp_mode(&self) -> XdpMode {
        self.mode
    }

    /// Whether the packet can be described and is one.
    fn sendable(&self, frame: &Frame) -> bool {
        frame.len() >= ETHERNET_BYTES
            && usize::from(frame.len()) <= self.umem.memory().packet_bytes()
    }
}

/// Tries to bind in one mode, again and again while the queue is taken.
fn bind_patiently(
    umem: &SharedUmem,
    options: &XdpOptions<'_>,
    flags: BindFlags,
) -> Result<io::Result<Queues>, XdpError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let result = Queues::bind(umem, options.interface, options.queue, flags)?;
        let taken = matches!(&result, Err(e) if e.raw_os_error() == Some(Errno::EBUSY as i32));
        if !taken || Instant::now() >= deadline {
            return Ok(result);
        }
        std::thread::sleep(RETRY);
    }
}

impl AsFd for XdpNic {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queues.fd()
    }
}

/// For the classifier's map of sockets.
impl AsRawFd for XdpNic {
    fn as_raw_fd(&self) -> RawFd {
        self.queues.fd().as_raw_fd()
    }
}

impl XdpNic {
    /// A full ring of an interface that was down takes no packet that could be a reason to ask again;
    /// so every now and then the attempt is one.
    fn ask_again(&mut self) {
        self.attempts = self.attempts.wrapping_add(1);
        if self.attempts.is_multiple_of(ATTEMPTS) {
            self.stalled = false;
        }
    }
}

impl Nic for XdpNic {
    fn name(&self) -> &str {
        &self.interface
    }

    fn mode(&self) -> &str {
        self.mode.name()
    }

    fn receive(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let first = into.len();
        let count = self.queues.receive(into, most);
        self.note_look(count);
        let memory = self.umem.memory();
        self.arrived.clear();
        for (position, frame) in into[first..].iter_mut().enumerate() {
            let Some(metadata) = memory.metadata_mut(frame) else { continue };
            if let Some(at) = metadata::arrival(metadata) {
                self.arrived.resize(position, None);
                self.arrived.push(Some(Monotonic::default().at(at)));
            }
            let Some(stamp) = metadata.last_chunk_mut() else { continue };
            if let Some(handler) = metadata::handler(stamp) {
                // Cleared, so that a packet that comes without one does not inherit this one's.
                stamp.fill(0);
                frame.set_handler(handler);
            }
        }
        self.counted.received += count as u64;
        count
    }

    fn arrivals(&self, into: &mut Vec<Option<Nanos>>) {
        into.extend_from_slice(&self.arrived);
    }

    fn transmit(&mut self, from: &mut VecDeque<Frame>) -> usize {
        let mut total = 0;
        while !from.is_empty() {
            let good = from.iter().take(BURST).take_while(|frame| self.sendable(frame)).count();
            let taken = self.queues.transmit(from, good);
            total += taken;
            self.untaken += taken;
            self.lent += taken;
            self.counted.transmitted += taken as u64;
            if taken > 0 {
                // New packets are a reason to ask an interface again that was down.
                self.stalled = false;
            }
            if taken < good {
                self.ask_again();
                break;
            }
            if good < BURST
                && let Some(frame) = from.pop_front()
            {
                self.counted.transmit_failed += 1;
                self.refused.push(frame);
                total += 1;
            }
        }
        total
    }

    fn unflushed(&self) -> usize {
        let asleep = self.mode != XdpMode::ZeroCopy || self.queues.transmit_sleeps();
        if self.stalled || !asleep { 0 } else { self.untaken }
    }

    fn is_stalled(&self) -> bool {
        self.stalled
    }

    fn flush(&mut self) -> io::Result<()> {
        self.untaken = self.queues.untaken();
        if self.unflushed() == 0 {
            return Ok(());
        }
        self.counted.syscalls += 1;
        let result = send(self.as_raw_fd(), &[], MsgFlags::MSG_DONTWAIT);
        self.untaken = self.queues.untaken();
        match result {
            Ok(_) | Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::EINTR) => Ok(()),
            Err(Errno::EBUSY) => {
                if self.mode != XdpMode::ZeroCopy {
                    // The driver took a packet and dropped it; the frame will complete.
                    self.counted.transmitted = self.counted.transmitted.saturating_sub(1);
                    self.counted.transmit_failed += 1;
                }
                Ok(())
            }
            Err(errno) => {
                self.stalled = true;
                Err(errno.into())
            }
        }
    }

    fn complete(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let mut count = self.refused.len().min(most);
        into.extend(self.refused.drain(..count));
        while count < most {
            let taken = self.queues.complete(into, most - count);
            self.lent -= taken;
            count += taken;
            if taken < BURST {
                break;
            }
        }
        count
    }

    fn in_flight(&self) -> usize {
        self.lent + self.refused.len()
    }

    fn refill(&mut self, from: &mut Vec<Frame>) {
        let filled = self.queues.fill(from);
        // In copy mode the kernel looks at the fill ring by itself.
        if filled > 0 && self.mode == XdpMode::ZeroCopy && self.queues.fill_sleeps() {
            self.counted.syscalls += 1;
            // Any error comes again with the next flush, which reports it.
            let _ = recv(self.as_raw_fd(), &mut [], MsgFlags::MSG_DONTWAIT);
        }
    }

    fn poll_fd(&self) -> Option<RawFd> {
        Some(self.as_raw_fd())
    }

    fn statistics(&mut self) -> NicStatistics {
        self.counted.syscalls += 1;
        if let Ok(kernel) = self.queues.statistics() {
            // Packets that found no empty frame are among the dropped in copy mode, and not the
            // socket's to lose in zero-copy mode: `rx_fill_ring_empty_descs` would count them twice.
            self.counted.receive_lost = kernel.rx_dropped() + kernel.rx_ring_full();
        }
        self.counted
    }
}
