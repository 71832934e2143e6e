//! The sender's socket: UDP, many packets a system call, to one host or to a group.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrIn, sendmmsg, setsockopt, sockopt};

use crate::sys;

/// Packets of one system call.
const BURST: usize = 64;
/// Hops a packet to a group may take.
const GROUP_HOPS: u32 = 4;
/// Bytes that may wait for a slow wire.
const BUFFER: usize = 4 << 20;

/// Where packets go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// A host or a group, and a port.
    pub address: SocketAddrV4,
    /// The interface that packets to a group leave by; without it the routing table says.
    pub group_interface: Option<String>,
}

/// Why packets do not leave.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No interface has that name.
    #[error("there is no interface {0}")]
    NoInterface(String),
    /// No way there.
    #[error("no route to {address}{hint}: {source}")]
    NoRoute {
        /// Where to.
        address: Ipv4Addr,
        /// What to do about it.
        hint: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Longer than the interface takes.
    #[error("a packet is longer than the way to {0} allows: lower --packet-bytes")]
    TooLong(Ipv4Addr),
    /// The kernel said something else.
    #[error("cannot send to {address}: {source}")]
    Kernel {
        /// Where to.
        address: Ipv4Addr,
        /// What it said.
        source: io::Error,
    },
}

/// A socket with its place to send to.
pub(super) struct Sender {
    socket: UdpSocket,
    address: SocketAddrV4,
    headers: MultiHeaders<SockaddrIn>,
    packets: u64,
    bytes: u64,
}

impl Sender {
    pub(super) fn open(target: &Target) -> Result<Self, SendError> {
        let address = target.address;
        let kernel = |source| SendError::Kernel { address: *address.ip(), source };
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(kernel)?;
        // Less is only less even.
        let _ = setsockopt(&socket, sockopt::SndBuf, &BUFFER);
        if address.ip().is_multicast() {
            socket.set_multicast_ttl_v4(GROUP_HOPS).map_err(kernel)?;
        }
        if let Some(name) = &target.group_interface {
            let index = nix::net::if_::if_nametoindex(name.as_str())
                .map_err(|_| SendError::NoInterface(name.clone()))?;
            sys::set_multicast_interface(&socket, index).map_err(kernel)?;
        }
        let headers = MultiHeaders::preallocate(BURST, None);
        Ok(Self { socket, address, headers, packets: 0, bytes: 0 })
    }

    /// Sends packets in order; waits where the wire is slower.
    pub(super) fn send<'a>(
        &mut self,
        packets: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), SendError> {
        let slices: Vec<[IoSlice<'a>; 1]> = packets.map(|packet| [IoSlice::new(packet)]).collect();
        let mut left = slices.as_slice();
        while !left.is_empty() {
            let sent = match self.send_some(left) {
                Ok(sent) => sent.max(1),
                Err(Errno::EINTR) => 0,
                // The queue of the interface is full: it drains at the wire's speed.
                Err(Errno::ENOBUFS | Errno::EAGAIN) => {
                    std::thread::sleep(std::time::Duration::from_micros(100));
                    0
                }
                Err(errno) => return Err(self.error(errno)),
            };
            self.packets += sent as u64;
            self.bytes += left.iter().take(sent).map(|slice| slice[0].len() as u64).sum::<u64>();
            left = left.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    fn send_some(&mut self, slices: &[[IoSlice<'_>; 1]]) -> Result<usize, Errno> {
        let some = &slices[..slices.len().min(BURST)];
        let addresses = vec![Some(SockaddrIn::from(self.address)); some.len()];
        let fd = self.socket.as_raw_fd();
        let sent = sendmmsg(fd, &mut self.headers, some, &addresses, [], MsgFlags::empty())?;
        Ok(sent.count())
    }

    fn error(&self, errno: Errno) -> SendError {
        let (address, source) = (*self.address.ip(), io::Error::from(errno));
        match errno {
            Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EADDRNOTAVAIL => {
                let group = address.is_multicast();
                let hint = if group { " (name the interface with --multicast-iface)" } else { "" };
                SendError::NoRoute { address, hint, source }
            }
            Errno::EMSGSIZE => SendError::TooLong(address),
            _ => SendError::Kernel { address, source },
        }
    }

    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
