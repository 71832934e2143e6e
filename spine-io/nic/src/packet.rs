//! AF_PACKET: any Ethernet interface, any kernel, at the price of a copy each way.
//!
//! A raw socket bound to one interface: bursts are received straight into frames with `recvmmsg` and
//! sent with `sendmmsg`. The kernel's own stack sees the same packets, and what a local process sends
//! is not shown to us (`PACKET_IGNORE_OUTGOING`). VLAN tags, which the kernel takes off such packets,
//! are put back in their place; checksums that a sender left to its card are completed, and large TCP
//! packets cut, so that adapters see what a wire would carry.
//!
//! When each packet came is told to whoever asks for it ([`PacketNic::time_arrivals`]): the kernel stamps
//! packets where they leave the driver, so a reader that was not there in time knows by how much.
//!
//! Left out: other packets larger than a frame (counted and thrown away), and rings shared with the
//! kernel.

pub mod code;
mod filter;
mod intake;
mod segment;
mod sender;
mod sys;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{SetSockOpt, setsockopt, sockopt};
use nix::time::ClockId;
use spine_abi::limits::BURST;

pub use self::filter::PacketFilter;
use self::intake::Intake;
pub use self::sender::PacketSender;
pub use self::sys::FilterInstruction;
use super::{ETHERNET_BYTES, Nic, NicStatistics};
use crate::buffer::{Frame, FrameMemory};
use crate::clock::{Clock as _, Monotonic, kernel_time};
use spine_abi::Nanos;

/// Bytes the kernel may hold for us each way, where we are allowed that much.
const RECEIVE_BUFFER: usize = 16 << 20;
const SEND_BUFFER: usize = 4 << 20;
/// The longest time, in nanoseconds, for which a packet can have waited. The stamps go by a clock that can
/// be set, and what it was set by must not look like waiting.
const OLDEST: u64 = 1_000_000_000;
/// Packets that wait for a flush at most.
const WAITING: usize = 4 * BURST;

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
    intake: Intake,
    /// Readable while something is in the intake that only waits for an empty frame.
    rest: EventFd,
    is_resting: bool,
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
            intake: Intake::new(Arc::clone(&memory)),
            memory,
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

    /// Has the kernel say when each packet arrived, for [`Nic::arrivals`]. It stamps the packets of all
    /// interfaces then, which costs it a look at the clock for each.
    ///
    /// # Errors
    /// What the kernel says of the option.
    pub fn time_arrivals(&self) -> io::Result<()> {
        sys::time_arrivals(self.socket.as_fd())
    }

    /// The filter as a thing of its own, for whoever decides while another thread receives.
    ///
    /// # Errors
    /// What the kernel says of one more descriptor.
    pub fn filter(&self) -> io::Result<PacketFilter> {
        Ok(PacketFilter::new(self.socket.try_clone()?))
    }

    /// Gives up the first `count` packets that wait: they will be completed, but were not sent.
    fn refuse(&mut self, count: usize) {
        let count = count.min(self.waiting.len());
        self.done.extend(self.waiting.drain(..count));
        self.counted.transmit_failed += count as u64;
    }
}

/// The index of an interface.
fn index(interface: &str) -> Result<i32, PacketError> {
    let index = if_nametoindex(interface).ok().and_then(|index| i32::try_from(index).ok());
    index.ok_or_else(|| PacketError::NoInterface(interface.to_owned()))
}

/// Nanoseconds from a packet's stamp to now, both by a clock that may have been set in between.
fn age(stamp: u64, now: u64) -> u64 {
    now.saturating_sub(stamp).min(OLDEST)
}

/// Why there is no socket on an interface.
fn refusal(interface: &str, source: io::Error) -> PacketError {
    let interface = interface.to_owned();
    match source.raw_os_error() {
        Some(libc::EPERM) => PacketError::Permission(interface),
        _ => PacketError::Kernel { interface, source },
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
        if self.intake.is_drained() && self.intake.fetch(self.socket.as_fd(), most) {
            self.counted.syscalls += 1;
        }
        let count = self.intake.take(into, most);
        self.counted.received += count as u64;
        let waits = count == 0 && !self.intake.is_drained();
        if waits != self.is_resting {
            self.is_resting = waits;
            // Neither can fail: the counter is one or zero.
            let _ = if waits { self.rest.write(1).map(drop) } else { self.rest.read().map(drop) };
        }
        count
    }

    fn arrivals(&self, into: &mut Vec<Option<Nanos>>) {
        let stamps = self.intake.taken();
        if stamps.iter().all(Option::is_none) {
            return;
        }
        let now = Monotonic::default().now();
        let stamped_now = kernel_time(ClockId::CLOCK_REALTIME);
        let arrival = |stamp| Nanos(now.0.saturating_sub(age(stamp, stamped_now)));
        into.extend(stamps.iter().map(|stamp| stamp.map(arrival)));
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
        self.intake.refill(from);
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
        NicStatistics { oversized: self.intake.oversized(), ..self.counted }
    }
}

#[cfg(test)]
mod tests;
