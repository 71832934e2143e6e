//! What AF_XDP needs `unsafe` for: frames lent to the kernel and taken back, and socket options.
#![allow(unsafe_code, reason = "xsk-rs's rings and UMEM, socket options and an ioctl")]

use std::collections::VecDeque;
use std::ffi::{c_char, c_int};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use libc::socklen_t;
use spine_abi::limits::BURST;
use spine_xdp_progs::PROGRESS_BYTES;
use xsk_rs::config::{BindFlags, Interface, LibxdpFlags, SocketConfig};
use xsk_rs::socket::XdpStatistics;
use xsk_rs::{CompQueue, FillQueue, FrameDesc, RxQueue, Socket, TxQueue, Umem};

use super::umem::{Inner, SharedUmem, ring_size};
use super::{XdpError, kernel_error};
use crate::buffer::{Frame, FrameMemory, HEADROOM};

/// A batch, as the rings count.
#[expect(clippy::cast_possible_truncation, reason = "64")]
const BATCH: u32 = BURST as u32;

/// The length of a 32-bit socket option.
#[expect(clippy::cast_possible_truncation, reason = "4")]
const WORD: socklen_t = size_of::<u32>() as socklen_t;

/// Makes frames of a UMEM's memory: the UMEM itself is what keeps it mapped.
pub(super) fn lend(
    umem: &Umem,
    places: &[FrameDesc],
    frame_bytes: usize,
    homes: u16,
) -> (Arc<FrameMemory>, Vec<Vec<Frame>>) {
    for (index, place) in places.iter().enumerate() {
        assert_eq!(place.addr(), index * frame_bytes + usize::from(HEADROOM));
    }
    // SAFETY: the descriptor is this UMEM's, and its data is empty: nothing is accessed.
    let first = unsafe { umem.data(&places[0]) };
    // The slice covers nothing, so its pointer may not be used beyond it; but the mapping's address
    // was given to the kernel when the UMEM was registered, which exposed it.
    let start = first.contents().as_ptr().expose_provenance() - places[0].addr();
    let base = NonNull::new(ptr::with_exposed_provenance_mut::<u8>(start))
        .expect("a mapping does not start at zero");
    let frames = u32::try_from(places.len()).expect("made for a u32");
    // SAFETY: 1. the UMEM is `frames` frames of `frame_bytes` in one mapping that starts at `base`
    // (the places stand at the stride and offset asserted above), and it stays mapped as long as a
    // clone of the Umem lives, which is the owner. 2. Only this file reaches the UMEM's bytes by
    // another way, and does so for frames it holds (`describe`).
    unsafe { FrameMemory::from_raw(base, frames, frame_bytes, homes, Box::new(umem.clone())) }
}

/// The four rings of one socket.
///
/// Invariant: every descriptor the kernel holds, in its rings or in its hands, is of a frame whose
/// [`Frame`] was consumed here; every descriptor that comes back is made into a `Frame` once.
pub(super) struct Queues {
    shared: SharedUmem,
    receive: RxQueue,
    transmit: TxQueue,
    fill: FillQueue,
    completion: CompQueue,
    /// The descriptors of one batch; between calls they mean nothing.
    batch: Box<[FrameDesc; BURST]>,
}

impl Queues {
    /// Binds a socket to a queue, in the one mode the flags say.
    pub(super) fn bind(
        shared: &SharedUmem,
        interface: &str,
        queue: u32,
        flags: BindFlags,
    ) -> Result<io::Result<Self>, XdpError> {
        let rings = shared.inner().rings;
        let config = SocketConfig::builder()
            .rx_queue_size(ring_size(rings.receive)?)
            .tx_queue_size(ring_size(rings.transmit)?)
            .libxdp_flags(LibxdpFlags::XSK_LIBXDP_FLAGS_INHIBIT_PROG_LOAD)
            .bind_flags(flags)
            .build();
        let Ok(name) = interface.parse::<Interface>() else {
            return Err(XdpError::NoInterface { interface: interface.to_owned() });
        };
        // SAFETY: libxdp is told not to load a program, as required for a second socket on a queue.
        let made = unsafe { Socket::new(config, &shared.inner().umem, &name, queue) };
        let (transmit, receive, fill, completion) = match made {
            Ok((transmit, receive, Some((fill, completion)))) => {
                (transmit, receive, fill, completion)
            }
            // We have a socket on this queue already: for the caller it is taken.
            Ok((_, _, None)) => return Ok(Err(io::Error::from_raw_os_error(libc::EBUSY))),
            Err(error) => return Ok(Err(kernel_error(&error))),
        };
        let batch = Box::new([FrameDesc::default(); BURST]);
        let shared = shared.clone();
        Ok(Ok(Self { shared, receive, transmit, fill, completion, batch }))
    }

    /// The socket.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open as long as one of its queues lives, and `self` is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.transmit.fd().as_raw_fd()) }
    }

    /// Moves up to `most` received packets to the end of `into`.
    pub(super) fn receive(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let wanted = most.min(BURST);
        // SAFETY: the queue is of the UMEM whose frames we hold.
        let count = unsafe { self.receive.consume(&mut self.batch[..wanted]) };
        let inner = self.shared.inner();
        into.extend(self.batch[..count].iter().map(|desc| {
            // SAFETY: the kernel received into a frame from the fill ring, whose Frame `fill`
            // consumed; it gives each back once.
            let mut frame = unsafe { take_back(inner, desc) };
            let offset = desc.addr() & (inner.memory.frame_bytes() - 1);
            let length = desc.lengths().data().min(inner.memory.frame_bytes() - offset);
            // Both are less than a frame's 4096 bytes.
            let small = |value| u16::try_from(value).unwrap_or(0);
            inner.memory.set_packet(&mut frame, small(offset), small(length));
            frame
        }));
        count
    }

    /// Takes up to `most` packets from the front of `from`, each of which fits behind the headroom.
    pub(super) fn transmit(&mut self, from: &mut VecDeque<Frame>, most: usize) -> usize {
        let count = most.min(BURST).min(from.len()).min(free(self.transmit.nb_free(BATCH)));
        for (desc, frame) in self.batch.iter_mut().zip(from.drain(..count)) {
            *desc = describe(self.shared.inner(), frame);
        }
        // SAFETY: the descriptors are of this UMEM, and their frames were consumed.
        let produced = unsafe { self.transmit.produce(&self.batch[..count]) };
        assert_eq!(produced, count, "the ring had room for them");
        count
    }

    /// Moves up to `most` frames whose packets have left to the end of `into`.
    pub(super) fn complete(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let wanted = most.min(BURST);
        // SAFETY: the queue is of the UMEM whose frames we hold.
        let count = unsafe { self.completion.consume(&mut self.batch[..wanted]) };
        let inner = self.shared.inner();
        // SAFETY: the kernel completes what the transmit ring held, whose Frame `transmit` consumed;
        // it gives each back once.
        into.extend(self.batch[..count].iter().map(|desc| unsafe { take_back(inner, desc) }));
        count
    }

    /// Takes empty frames from the end of `from` for the driver to receive into, as many as fit.
    pub(super) fn fill(&mut self, from: &mut Vec<Frame>) -> usize {
        let mut total = 0;
        loop {
            let count = from.len().min(BURST).min(free(self.fill.nb_free(BATCH)));
            if count == 0 {
                return total;
            }
            let first = from.len() - count;
            for (desc, frame) in self.batch.iter_mut().zip(from.drain(first..)) {
                *desc = place(self.shared.inner(), &frame);
            }
            // SAFETY: the descriptors are of this UMEM, and their frames were consumed.
            let produced = unsafe { self.fill.produce(&self.batch[..count]) };
            assert_eq!(produced, count, "the ring had room for them");
            total += count;
        }
    }

    /// Packets the kernel has not taken from the transmit ring yet.
    pub(super) fn untaken(&mut self) -> usize {
        let size = free(self.shared.inner().rings.transmit);
        size - free(self.transmit.nb_free_exact()).min(size)
    }

    /// Whether the driver wants to be told of packets to transmit.
    pub(super) fn transmit_sleeps(&self) -> bool {
        self.transmit.needs_wakeup()
    }

    /// Whether the driver wants to be told of frames to receive into.
    pub(super) fn fill_sleeps(&self) -> bool {
        self.fill.needs_wakeup()
    }

    /// What the kernel counted on this socket.
    pub(super) fn statistics(&self) -> io::Result<XdpStatistics> {
        self.transmit.fd().xdp_statistics()
    }
}

fn free(descriptors: u32) -> usize {
    usize::try_from(descriptors).unwrap_or(usize::MAX)
}

/// The frame of a descriptor that the kernel returned.
///
/// # Safety
/// The kernel was lent the frame of this descriptor, and has returned it now.
#[inline]
unsafe fn take_back(inner: &Inner, desc: &FrameDesc) -> Frame {
    let index = u32::try_from(desc.addr() >> inner.frame_shift).unwrap_or(u32::MAX);
    // SAFETY: by this function's own contract; `adopt` itself refuses an index that is not ours.
    unsafe { inner.memory.adopt(index, inner.home(index)) }
}

/// The descriptor of a frame, whatever is in it.
#[inline]
fn place(inner: &Inner, frame: &Frame) -> FrameDesc {
    assert!(inner.memory.owns(frame), "a frame of another memory");
    inner.places[frame.index() as usize]
}

/// Consumes a frame and describes its packet for the kernel, moved to where the descriptor says.
#[inline]
fn describe(inner: &Inner, mut frame: Frame) -> FrameDesc {
    let length = frame.len();
    if frame.offset() != HEADROOM {
        move_to_place(&inner.memory, &mut frame);
    }
    let mut desc = place(inner, &frame);
    // SAFETY: the descriptor is of this UMEM, and we hold its frame.
    unsafe { inner.umem.data_mut(&mut desc) }.cursor().set_pos(usize::from(length));
    desc
}

/// Moves a packet that stands elsewhere in its frame (a VLAN tag was put in front) to its place.
#[cold]
fn move_to_place(memory: &FrameMemory, frame: &mut Frame) {
    let (offset, length) = (frame.offset(), frame.len());
    let first = offset.min(HEADROOM);
    let span = offset.max(HEADROOM) - first + length;
    memory.set_packet(frame, first, span);
    let (from, to) = (usize::from(offset - first), usize::from(HEADROOM - first));
    memory.packet_mut(frame).copy_within(from..from + usize::from(length), to);
    memory.set_packet(frame, HEADROOM, length);
}

/// The classifier's map of what each socket's adapter has looked into, mapped.
pub(super) struct ProgressMap {
    words: NonNull<AtomicU64>,
    bytes: usize,
}

// SAFETY: the mapping is only reached through atomics, and unmapped once, when nobody has it any more.
unsafe impl Send for ProgressMap {}
// SAFETY: as above.
unsafe impl Sync for ProgressMap {}

impl ProgressMap {
    /// Maps so many bytes of a map that may be.
    pub(super) fn new(map: BorrowedFd<'_>, bytes: usize) -> io::Result<Self> {
        // SAFETY: a new mapping, wherever there is room for it; the kernel refuses more bytes than the map has.
        let at = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let words = NonNull::new(at.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { words, bytes })
    }

    /// The word of a socket that its adapter writes; none beyond the map's end.
    fn word(&self, socket: u32) -> Option<&AtomicU64> {
        let at = usize::try_from(socket).ok()?.checked_mul(PROGRESS_BYTES)?;
        if at.checked_add(PROGRESS_BYTES)? > self.bytes {
            return None;
        }
        // SAFETY: it is within the mapping, which lives as long as `self`, and aligned, as the mapping's start and the
        // distance are. The kernel's program reads it and never writes it.
        Some(unsafe { self.words.byte_add(at).as_ref() })
    }
}

impl Drop for ProgressMap {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and whoever held a reference into it borrowed `self`.
        unsafe { libc::munmap(self.words.as_ptr().cast(), self.bytes) };
    }
}

/// Where the adapter of one socket says that it has looked into its ring.
pub struct Progress {
    map: Arc<ProgressMap>,
    socket: u32,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Progress {
    pub(super) fn of(map: &Arc<ProgressMap>, socket: u32) -> Self {
        Self { map: Arc::clone(map), socket }
    }

    /// It has been looked into.
    pub(super) fn note_look(&self) {
        if let Some(word) = self.map.word(self.socket) {
            // Nobody else writes it.
            word.store(word.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        }
    }
}

/// `XDP_MAX_TX_SKB_BUDGET` of linux/if_xdp.h, which no crate has yet.
const XDP_MAX_TX_SKB_BUDGET: c_int = 9;

/// Lets one system call transmit this many packets in copy mode (the default is 32).
pub(super) fn set_transmit_budget(socket: BorrowedFd<'_>, packets: u32) -> io::Result<()> {
    // SAFETY: the value is `WORD` readable bytes for the duration of the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            XDP_MAX_TX_SKB_BUDGET,
            ptr::from_ref(&packets).cast(),
            WORD,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether the kernel bound the socket without copies.
pub(super) fn is_zero_copy(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut flags: u32 = 0;
    let mut length = WORD;
    // SAFETY: `flags` (struct xdp_options) is `length` writable bytes, and any bytes are valid.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_OPTIONS,
            ptr::from_mut(&mut flags).cast(),
            &raw mut length,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
}

/// `struct ethtool_channels` of linux/ethtool.h.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    max_receive: u32,
    max_transmit: u32,
    max_other: u32,
    max_combined: u32,
    receive: u32,
    transmit: u32,
    other: u32,
    combined: u32,
}

/// `ETHTOOL_GCHANNELS` of linux/ethtool.h.
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// The receive channels the driver says an interface has.
pub(super) fn receive_channels(interface: &str) -> io::Result<u32> {
    let mut channels = Channels { command: ETHTOOL_GCHANNELS, ..Channels::default() };
    // SAFETY: for this command the kernel reads and writes one `ethtool_channels`.
    unsafe { ethtool(interface, &mut channels) }?;
    Ok(channels.combined.saturating_add(channels.receive))
}

/// `struct ethtool_drvinfo` of linux/ethtool.h.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    bus: [u8; 32],
    rom: [u8; 32],
    reserved: [u8; 12],
    counts: [u32; 5],
}

/// `ETHTOOL_GDRVINFO` of linux/ethtool.h.
const ETHTOOL_GDRVINFO: u32 = 3;

/// The name of the driver of an interface.
pub(super) fn driver(interface: &str) -> io::Result<String> {
    let mut info = DriverInfo {
        command: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        version: [0; 32],
        firmware: [0; 32],
        bus: [0; 32],
        rom: [0; 32],
        reserved: [0; 12],
        counts: [0; 5],
    };
    // SAFETY: for this command the kernel reads and writes one `ethtool_drvinfo`.
    unsafe { ethtool(interface, &mut info) }?;
    let end = info.driver.iter().position(|byte| *byte == 0).unwrap_or(info.driver.len());
    Ok(String::from_utf8_lossy(&info.driver[..end]).into_owned())
}

/// `struct ethtool_value` of linux/ethtool.h.
#[repr(C)]
struct Flags {
    command: u32,
    flags: u32,
}

/// `ETHTOOL_GFLAGS` of linux/ethtool.h, and `ETH_FLAG_RXVLAN` in what it answers.
const ETHTOOL_GFLAGS: u32 = 0x25;
const RXVLAN: u32 = 1 << 8;

/// Whether the driver takes VLAN tags from the packets that an interface receives, as far as it says.
pub(super) fn strips_tags(interface: &str) -> bool {
    let mut question = Flags { command: ETHTOOL_GFLAGS, flags: 0 };
    // SAFETY: for this command the kernel reads and writes one `ethtool_value`.
    let asked = unsafe { ethtool(interface, &mut question) };
    asked.is_ok() && question.flags & RXVLAN != 0
}

/// Asks an interface's driver something.
///
/// # Safety
/// `question` begins with a command for which the kernel reads and writes no more than a `T`.
unsafe fn ethtool<T>(interface: &str, question: &mut T) -> io::Result<()> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    let control =
        socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None::<_>)?;
    // SAFETY: all zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if interface.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
    request.ifr_ifru.ifru_data = ptr::from_mut(question).cast();
    // SAFETY: the kernel reads and writes one `T` behind the request's pointer, which the caller answers
    // for; both live for the duration of the call.
    let result = unsafe { libc::ioctl(control.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
