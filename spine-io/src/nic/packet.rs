//! AF_PACKET: any Ethernet interface, any kernel, at the price of a copy each way.
//!
//! A raw socket bound to one interface: bursts are received straight into frames with `recvmmsg` and
//! sent with `sendmmsg`. The kernel's own stack sees the same packets, and what a local process sends
//! is not shown to us (`PACKET_IGNORE_OUTGOING`). VLAN tags, which the kernel takes off such packets,
//! are put back in their place.
//!
//! Left out: packets larger than a frame (counted and thrown away), rings shared with the kernel, and
//! completing checksums the sender left to its card (they arrive as they are, as with AF_XDP).

mod sys;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{SetSockOpt, setsockopt, sockopt};
use spine_abi::limits::BURST;

pub use sys::FilterInstruction;

use super::{ETHERNET_BYTES, Nic, NicStatistics};
use crate::buffer::{Frame, FrameMemory, HEADROOM};

/// Bytes the kernel may hold for us each way, where we are allowed that much.
const RECEIVE_BUFFER: usize = 16 << 20;
const SEND_BUFFER: usize = 4 << 20;
/// Packets that wait for a flush at most.
const WAITING: usize = 4 * BURST;
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
    waiting: VecDeque<Frame>,
    done: Vec<Frame>,
    counted: NicStatistics,
}

impl PacketNic {
    /// Opens a socket on `interface`, whose packets go into frames of `memory`.
    ///
    /// # Errors
    /// [`PacketError`], each a sentence for the person who named the interface.
    pub fn open(interface: &str, memory: Arc<FrameMemory>) -> Result<Self, PacketError> {
        let name = || interface.to_owned();
        let kernel = |source| PacketError::Kernel { interface: name(), source };
        let index = if_nametoindex(interface).map_err(|_| PacketError::NoInterface(name()))?;
        let index = i32::try_from(index).map_err(|_| PacketError::NoInterface(name()))?;
        let (socket, hardware) = sys::open(index).map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM) => PacketError::Permission(name()),
            _ => kernel(error),
        })?;
        if !matches!(hardware, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK) {
            return Err(PacketError::NotEthernet(name()));
        }
        raise(&socket, RECEIVE_BUFFER, sockopt::RcvBufForce, sockopt::RcvBuf);
        raise(&socket, SEND_BUFFER, sockopt::SndBufForce, sockopt::SndBuf);
        Ok(Self {
            interface: name(),
            socket,
            memory,
            empty: Vec::with_capacity(2 * BURST),
            burst: Vec::with_capacity(BURST),
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

    /// Gives up the first `count` packets that wait: they will be completed, but were not sent.
    fn refuse(&mut self, count: usize) {
        let count = count.min(self.waiting.len());
        self.done.extend(self.waiting.drain(..count));
        self.counted.transmit_failed += count as u64;
    }
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
        let wanted = most.min(BURST).min(self.empty.len());
        if wanted == 0 {
            return 0;
        }
        let first = self.empty.len() - wanted;
        self.burst.extend(self.empty.drain(first..));
        for frame in &mut self.burst {
            self.memory.set_packet(frame, HEADROOM, 0);
        }
        let mut arrivals = [sys::Arrival::default(); BURST];
        self.counted.syscalls += 1;
        // An error is "nothing there", or news of the interface (down, gone) that flush reports, too.
        let arrived =
            sys::receive(self.socket.as_fd(), &self.memory, &mut self.burst, &mut arrivals)
                .unwrap_or(0);
        let room = self.memory.packet_bytes();
        let mut count = 0;
        let mut burst = std::mem::take(&mut self.burst);
        for (position, mut frame) in burst.drain(..).enumerate() {
            let Some(arrival) = arrivals[..arrived].get(position) else {
                self.empty.push(frame);
                continue;
            };
            let length = u16::try_from(arrival.bytes).unwrap_or(u16::MAX);
            if arrival.bytes > room || length < ETHERNET_BYTES {
                // A runt cannot come from a wire; it is thrown away under the same name.
                self.counted.oversized += 1;
                self.empty.push(frame);
                continue;
            }
            self.memory.set_packet(&mut frame, HEADROOM, length);
            if let Some(tag) = arrival.tag {
                self.insert_tag(&mut frame, tag);
            }
            frame.set_handler(spine_abi::HandlerNumber::NONE);
            into.push(frame);
            count += 1;
        }
        self.burst = burst;
        self.counted.received += count as u64;
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

    fn statistics(&mut self) -> NicStatistics {
        self.counted.syscalls += 1;
        // The kernel counts from zero again after each reading.
        self.counted.receive_lost += sys::lost(self.socket.as_fd()).unwrap_or(0);
        self.counted
    }
}
