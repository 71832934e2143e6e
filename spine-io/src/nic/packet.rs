//! AF_PACKET: any Ethernet interface, any kernel, at the price of a copy each way.
//!
//! A raw socket bound to one interface: bursts are received straight into frames with `recvmmsg` and
//! sent with `sendmmsg`. The kernel's own stack sees the same packets, and what a local process sends
//! is not shown to us (`PACKET_IGNORE_OUTGOING`). VLAN tags, which the kernel takes off such packets,
//! are put back in their place; checksums that a sender left to its card are completed, and large TCP
//! packets cut ([`segment`]), so that adapters see what a wire would carry.
//!
//! Left out: other packets larger than a frame (counted and thrown away), and rings shared with the
//! kernel.

mod segment;
mod sys;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{MsgFlags, SetSockOpt, send, setsockopt, sockopt};
use spine_abi::limits::BURST;
use spine_abi::verdict::ChecksumRequest;

pub use sys::FilterInstruction;

use self::segment::Segments;
use super::{ETHERNET_BYTES, Nic, NicStatistics};
use crate::buffer::{Frame, FrameMemory, HEADROOM};
use crate::endpoint::network::complete_checksum;

/// Bytes the kernel may hold for us each way, where we are allowed that much.
const RECEIVE_BUFFER: usize = 16 << 20;
const SEND_BUFFER: usize = 4 << 20;
/// Packets that wait for a flush at most.
const WAITING: usize = 4 * BURST;
/// Room for one packet of any size: the longest that IPv4 can be, its Ethernet header, and a frame's
/// worth of bytes that go into the frame first.
const SPILL_BYTES: usize = 72 << 10;
/// Bytes of a VLAN tag, and of the addresses in front of it.
const TAG_BYTES: u16 = 4;
const ADDRESS_BYTES: usize = 12;

/// Why there is no AF_PACKET socket on an interface.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// No interface has that name.
    #[error("there is no interface {0}")]
    NoInterface(String),
    /// Its packets do not start with an Ethernet header.
    #[error("{0} is not an Ethernet interface")]
    NotEthernet(String),
    /// The process may not open raw sockets.
    #[error(
        "AF_PACKET on {0} needs the capability CAP_NET_RAW: run as root, or grant it with setcap"
    )]
    Permission(String),
    /// The kernel said something else.
    #[error("no AF_PACKET socket on {interface}: {source}")]
    Kernel {
        /// The interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// An interface reached through an AF_PACKET socket.
#[derive(Debug)]
pub struct PacketNic {
    interface: String,
    socket: OwnedFd,
    memory: Arc<FrameMemory>,
    empty: Vec<Frame>,
    /// Frames in the middle of one system call; empty between calls.
    burst: Vec<Frame>,
    /// What was received and not yet taken.
    staged: VecDeque<Staged>,
    /// The large packet that is being cut; it comes before what is staged.
    cut: Option<Cut>,
    /// Room for the large packets of one system call.
    spill: Vec<u8>,
    /// Readable while something is staged that only waits for an empty frame.
    rest: EventFd,
    is_resting: bool,
    waiting: VecDeque<Frame>,
    done: Vec<Frame>,
    counted: NicStatistics,
}

/// A packet as received, in its place among those of one system call.
#[derive(Debug)]
struct Staged {
    frame: Frame,
    arrival: sys::Arrival,
    place: usize,
}

/// A large packet on its way into frames.
#[derive(Debug)]
struct Cut {
    segments: Segments,
    /// Where in the spill it is.
    place: usize,
    bytes: usize,
}

impl PacketNic {
    /// Opens a socket on `interface`, whose packets go into frames of `memory`.
    ///
    /// # Errors
    /// [`PacketError`], each a sentence for the person who named the interface.
    pub fn open(interface: &str, memory: Arc<FrameMemory>) -> Result<Self, PacketError> {
        Self::open_with(interface, memory, None)
    }

    /// The same, receiving from the first only packets for which this classic BPF program returns other
    /// than zero.
    ///
    /// # Errors
    /// [`PacketError`].
    pub fn open_filtered(
        interface: &str,
        memory: Arc<FrameMemory>,
        program: &[FilterInstruction],
    ) -> Result<Self, PacketError> {
        Self::open_with(interface, memory, Some(program))
    }

    fn open_with(
        interface: &str,
        memory: Arc<FrameMemory>,
        filter: Option<&[FilterInstruction]>,
    ) -> Result<Self, PacketError> {
        let name = || interface.to_owned();
        let kernel = |source| PacketError::Kernel { interface: name(), source };
        let opened = sys::open(index(interface)?, filter);
        let (socket, hardware) = opened.map_err(|error| refusal(interface, error))?;
        if !matches!(hardware, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK) {
            return Err(PacketError::NotEthernet(name()));
        }
        raise(&socket, RECEIVE_BUFFER, sockopt::RcvBufForce, sockopt::RcvBuf);
        raise(&socket, SEND_BUFFER, sockopt::SndBufForce, sockopt::SndBuf);
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let rest = EventFd::from_value_and_flags(0, flags).map_err(|error| kernel(error.into()))?;
        Ok(Self {
            interface: name(),
            socket,
            memory,
            empty: Vec::with_capacity(2 * BURST),
            burst: Vec::with_capacity(BURST),
            staged: VecDeque::with_capacity(BURST),
            cut: None,
            // Touched, and so taken from the system, only where large packets come.
            spill: vec![0; BURST * SPILL_BYTES],
            rest,
            is_resting: false,
            waiting: VecDeque::with_capacity(WAITING),
            done: Vec::with_capacity(WAITING),
            counted: NicStatistics::default(),
        })
    }

    /// Receives only packets for which this classic BPF program returns other than zero.
    ///
    /// # Errors
    /// What the kernel says of a program it does not accept.
    pub fn set_filter(&self, program: &[FilterInstruction]) -> io::Result<()> {
        sys::set_filter(self.socket.as_fd(), program)
    }

    /// The filter as a thing of its own, for whoever decides while another thread receives.
    ///
    /// # Errors
    /// What the kernel says of one more descriptor.
    pub fn filter(&self) -> io::Result<PacketFilter> {
        Ok(PacketFilter(self.socket.try_clone()?))
    }

    /// Puts back the tag that the kernel took out from behind the addresses: in front of the packet
    /// there is room for it.
    fn insert_tag(&self, frame: &mut Frame, tag: [u8; 4]) {
        let length = frame.len() + TAG_BYTES;
        self.memory.set_packet(frame, HEADROOM - TAG_BYTES, length);
        let packet = self.memory.packet_mut(frame);
        let moved = usize::from(TAG_BYTES);
        packet.copy_within(moved..moved + ADDRESS_BYTES, 0);
        packet[ADDRESS_BYTES..ADDRESS_BYTES + moved].copy_from_slice(&tag);
    }

    /// Receives what the kernel has, one packet for each empty frame at most.
    fn fetch(&mut self, most: usize) {
        let wanted = most.min(BURST).min(self.empty.len());
        if wanted == 0 {
            return;
        }
        let first = self.empty.len() - wanted;
        self.burst.extend(self.empty.drain(first..));
        for frame in &mut self.burst {
            self.memory.set_packet(frame, HEADROOM, 0);
        }
        let mut arrivals = [sys::Arrival::default(); BURST];
        self.counted.syscalls += 1;
        let socket = self.socket.as_fd();
        let (burst, spill) = (&mut self.burst, &mut self.spill);
        // An error is "nothing there", or news of the interface (down, gone) that flush reports, too.
        let arrived = sys::receive(socket, &self.memory, burst, spill, SPILL_BYTES, &mut arrivals)
            .unwrap_or(0);
        for (place, frame) in self.burst.drain(..).enumerate() {
            match arrivals[..arrived].get(place) {
                Some(arrival) => self.staged.push_back(Staged { frame, arrival: *arrival, place }),
                None => self.empty.push(frame),
            }
        }
    }

    /// Moves one packet to the end of `into`, or throws one away; false if there is none, or no frame
    /// for it.
    fn take(&mut self, into: &mut Vec<Frame>) -> bool {
        if self.cut.is_some() {
            return self.take_piece(into);
        }
        let Some(Staged { mut frame, arrival, place }) = self.staged.pop_front() else {
            return false;
        };
        if arrival.bytes > self.memory.packet_bytes() {
            self.begin_cut(frame, &arrival, place);
            return true;
        }
        let length = u16::try_from(arrival.bytes).unwrap_or(u16::MAX);
        if length < ETHERNET_BYTES {
            // A runt cannot come from a wire; it is thrown away under the name of the others.
            self.counted.oversized += 1;
            self.empty.push(frame);
            return true;
        }
        if is_large_tcp(&arrival) && u32::from(length) > u32::from(arrival.offload.segment) {
            self.begin_cut(frame, &arrival, place);
            return true;
        }
        self.memory.set_packet(&mut frame, HEADROOM, length);
        self.finish_checksum(&mut frame, &arrival.offload);
        if let Some(tag) = arrival.tag {
            self.insert_tag(&mut frame, tag);
        }
        frame.set_handler(spine_abi::HandlerNumber::NONE);
        into.push(frame);
        true
    }

    /// Begins to cut a large packet, of which the first part is in `frame`, or throws it away.
    fn begin_cut(&mut self, mut frame: Frame, arrival: &sys::Arrival, place: usize) {
        let start = place * SPILL_BYTES;
        let spill = &mut self.spill[start..start + SPILL_BYTES];
        let room = self.memory.room_mut(&mut frame);
        spill[..room.len()].copy_from_slice(room);
        self.empty.push(frame);
        // Tagged ones would have to carry the tag in each piece; adapters are not given any.
        let segments = spill
            .get(..arrival.bytes)
            .filter(|_| is_large_tcp(arrival) && arrival.tag.is_none())
            .and_then(|packet| Segments::new(packet, arrival.offload.segment));
        match segments {
            Some(segments) => self.cut = Some(Cut { segments, place, bytes: arrival.bytes }),
            None => self.counted.oversized += 1,
        }
    }

    /// Moves the next piece of the packet that is being cut to the end of `into`; false if there is no
    /// frame for it.
    fn take_piece(&mut self, into: &mut Vec<Frame>) -> bool {
        let Some(cut) = &mut self.cut else { return false };
        let Some(mut frame) = self.empty.pop() else { return false };
        let start = cut.place * SPILL_BYTES;
        let packet = &self.spill[start..start + cut.bytes];
        self.memory.set_packet(&mut frame, HEADROOM, 0);
        let piece = cut.segments.next(packet, self.memory.room_mut(&mut frame));
        let Some(length) = piece else {
            // No room for a piece: its sender's segments are longer than a frame.
            self.counted.oversized += u64::from(!cut.segments.is_done(packet));
            self.empty.push(frame);
            self.cut = None;
            return true;
        };
        self.memory.set_packet(&mut frame, HEADROOM, length);
        frame.set_handler(spine_abi::HandlerNumber::NONE);
        into.push(frame);
        true
    }

    /// Completes the checksum that the sender left to its card.
    fn finish_checksum(&self, frame: &mut Frame, offload: &sys::Offload) {
        let fields = (u8::try_from(offload.checksum_start), u8::try_from(offload.checksum_offset));
        if offload.flags & sys::NEEDS_CHECKSUM != 0
            && let (Ok(start), Ok(offset)) = fields
        {
            complete_checksum(self.memory.packet_mut(frame), ChecksumRequest { start, offset });
        }
    }

    /// Gives up the first `count` packets that wait: they will be completed, but were not sent.
    fn refuse(&mut self, count: usize) {
        let count = count.min(self.waiting.len());
        self.done.extend(self.waiting.drain(..count));
        self.counted.transmit_failed += count as u64;
    }
}

/// The filter of a [`PacketNic`].
#[derive(Debug)]
pub struct PacketFilter(OwnedFd);

impl PacketFilter {
    /// From here on, receives only packets for which this classic BPF program returns other than zero.
    ///
    /// # Errors
    /// What the kernel says of a program it does not accept.
    pub fn set(&self, program: &[FilterInstruction]) -> io::Result<()> {
        sys::set_filter(self.0.as_fd(), program)
    }
}

/// Sends single packets on an interface, and receives none.
#[derive(Debug)]
pub struct PacketSender(OwnedFd);

impl PacketSender {
    /// Opens a socket on `interface`, in the network namespace of the calling thread, which it keeps.
    ///
    /// # Errors
    /// [`PacketError`].
    pub fn open(interface: &str) -> Result<Self, PacketError> {
        let opened = sys::open_to_send(index(interface)?);
        Ok(Self(opened.map_err(|error| refusal(interface, error))?))
    }

    /// Sends a packet that begins with its Ethernet header, without waiting.
    ///
    /// # Errors
    /// What the kernel says of a packet it does not take.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        send(self.0.as_raw_fd(), packet, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}

/// The index of an interface.
fn index(interface: &str) -> Result<i32, PacketError> {
    let index = if_nametoindex(interface).ok().and_then(|index| i32::try_from(index).ok());
    index.ok_or_else(|| PacketError::NoInterface(interface.to_owned()))
}

/// Why there is no socket on an interface.
fn refusal(interface: &str, source: io::Error) -> PacketError {
    let interface = interface.to_owned();
    match source.raw_os_error() {
        Some(libc::EPERM) => PacketError::Permission(interface),
        _ => PacketError::Kernel { interface, source },
    }
}

/// Whether the packet stands for several of TCP over IPv4.
fn is_large_tcp(arrival: &sys::Arrival) -> bool {
    arrival.offload.kind & !sys::SEGMENTS_ECN == sys::SEGMENTS_TCP4
}

/// Raises a socket buffer over the system's limit where we may, up to it where not.
pub(super) fn raise<Force, Plain>(socket: &impl AsFd, bytes: usize, force: Force, plain: Plain)
where
    Force: SetSockOpt<Val = usize>,
    Plain: SetSockOpt<Val = usize>,
{
    if setsockopt(socket, force, &bytes).is_err() {
        // A smaller buffer loses packets earlier, and the loss is counted: no reason not to start.
        let _ = setsockopt(socket, plain, &bytes);
    }
}

impl AsFd for PacketNic {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Nic for PacketNic {
    fn name(&self) -> &str {
        &self.interface
    }

    fn mode(&self) -> &str {
        "af_packet"
    }

    fn receive(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        if self.staged.is_empty() && self.cut.is_none() {
            self.fetch(most);
        }
        let before = into.len();
        while into.len() - before < most && self.take(into) {}
        let count = into.len() - before;
        self.counted.received += count as u64;
        let waits = count == 0 && (self.cut.is_some() || !self.staged.is_empty());
        if waits != self.is_resting {
            self.is_resting = waits;
            // Neither can fail: the counter is one or zero.
            let _ = if waits { self.rest.write(1).map(drop) } else { self.rest.read().map(drop) };
        }
        count
    }

    fn transmit(&mut self, from: &mut VecDeque<Frame>) -> usize {
        let count = (WAITING - self.waiting.len()).min(from.len());
        for frame in from.drain(..count) {
            if frame.len() < ETHERNET_BYTES {
                self.counted.transmit_failed += 1;
                self.done.push(frame);
            } else {
                self.waiting.push_back(frame);
            }
        }
        count
    }

    fn unflushed(&self) -> usize {
        self.waiting.len()
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut asked_again = false;
        while !self.waiting.is_empty() {
            self.counted.syscalls += 1;
            match sys::send(self.socket.as_fd(), &self.memory, &self.waiting) {
                Ok(sent) => {
                    let sent = sent.min(self.waiting.len());
                    self.done.extend(self.waiting.drain(..sent));
                    self.counted.transmitted += sent as u64;
                    if sent == 0 {
                        break;
                    }
                }
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EAGAIN | Errno::EINTR) => break,
                    // It may only be news of an interface that is up again, told once a socket.
                    Some(Errno::ENETDOWN) if !asked_again => asked_again = true,
                    // The interface as a whole refuses: asking again for each packet is no use.
                    Some(Errno::ENETDOWN | Errno::ENXIO | Errno::ENODEV) => {
                        self.refuse(usize::MAX);
                        return Err(error);
                    }
                    // This packet: too long for the interface, or its queue is full.
                    _ => self.refuse(1),
                },
            }
        }
        Ok(())
    }

    fn complete(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let count = self.done.len().min(most);
        into.extend(self.done.drain(self.done.len() - count..));
        count
    }

    fn in_flight(&self) -> usize {
        self.waiting.len() + self.done.len()
    }

    fn refill(&mut self, from: &mut Vec<Frame>) {
        // The kernel holds what arrives: here one burst and one to follow are enough.
        let taken = (2 * BURST).saturating_sub(self.empty.len()).min(from.len());
        self.empty.extend(from.drain(from.len() - taken..));
    }

    fn poll_fd(&self) -> Option<RawFd> {
        Some(self.socket.as_raw_fd())
    }

    fn poll_fds(&self, into: &mut Vec<RawFd>) {
        into.extend([self.socket.as_raw_fd(), self.rest.as_fd().as_raw_fd()]);
    }

    fn statistics(&mut self) -> NicStatistics {
        self.counted.syscalls += 1;
        // The kernel counts from zero again after each reading.
        self.counted.receive_lost += sys::lost(self.socket.as_fd()).unwrap_or(0);
        self.counted
    }
}
