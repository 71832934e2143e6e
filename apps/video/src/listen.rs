//! The ordinary socket beside the adapter: it makes the kernel join groups, and keeps it quiet.
//!
//! Joining is the kernel's business: it speaks IGMP and programs the network card. And a port that nobody
//! has open is answered with ICMP "port unreachable", which stops senders; so the socket is bound to it, with
//! a filter that drops everything at once. The pictures' packets never reach it where the adapter claims
//! them before the kernel (AF_XDP); where the kernel has a copy (AF_PACKET), this is what becomes of it.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};

use crate::stream::Stream;
use crate::sys;

/// Why the kernel does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// No interface has that name.
    #[error("there is no interface {0}")]
    NoInterface(String),
    /// The port is somebody else's.
    #[error("port {0} is taken by another program: end it (ss -lunp shows which it is)")]
    Taken(u16),
    /// The address is not one of ours.
    #[error("{0} is no address of this machine and no group")]
    NotOurs(Ipv4Addr),
    /// The group cannot be joined.
    #[error("cannot join {group} on {interface}: {source}")]
    Join {
        /// The group.
        group: Ipv4Addr,
        /// Where.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel said something else.
    #[error("cannot listen on port {port}: {source}")]
    Kernel {
        /// The port.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The socket of one stream: while it lives, the group is joined and the port is quiet.
#[derive(Debug)]
pub struct Listener(UdpSocket);

impl Listener {
    /// Binds and joins for a stream that comes in on `interface`.
    ///
    /// # Errors
    /// [`ListenError`], each a sentence for the person who named the stream.
    pub fn open(stream: &Stream, interface: &str) -> Result<Self, ListenError> {
        let port = stream.port;
        let kernel = |source: io::Error| ListenError::Kernel { port, source };
        let index = nix::net::if_::if_nametoindex(interface)
            .map_err(|_| ListenError::NoInterface(interface.to_owned()))?;
        let socket = datagram_socket().map_err(|errno| kernel(errno.into()))?;
        if stream.group().is_some() {
            // Several groups on one port are several streams, here or in another program.
            setsockopt(&socket, sockopt::ReuseAddr, &true).map_err(|errno| kernel(errno.into()))?;
        }
        // Dropped before it is bound, so that not one packet waits in it.
        let socket = UdpSocket::from(socket);
        sys::drop_all(&socket).map_err(kernel)?;
        let address = stream.address.unwrap_or(Ipv4Addr::UNSPECIFIED);
        bind_to(&socket, SocketAddrV4::new(address, port)).map_err(|errno| match errno {
            Errno::EADDRINUSE => ListenError::Taken(port),
            Errno::EADDRNOTAVAIL => ListenError::NotOurs(address),
            errno => kernel(errno.into()),
        })?;
        if let Some(group) = stream.group() {
            let joined = match stream.source {
                None => sys::join(&socket, group, index),
                Some(source) => sys::join_source(&socket, group, address_of(interface), source),
            };
            joined.map_err(|source| ListenError::Join {
                group,
                interface: interface.to_owned(),
                source,
            })?;
        }
        Ok(Self(socket))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn datagram_socket() -> Result<OwnedFd, Errno> {
    let protocol: Option<SockProtocol> = None;
    socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)
}

fn bind_to(socket: &UdpSocket, address: SocketAddrV4) -> Result<(), Errno> {
    bind(socket.as_raw_fd(), &SockaddrIn::from(address))
}

/// An IPv4 address of an interface; without one, the kernel chooses by its routes.
fn address_of(interface: &str) -> Ipv4Addr {
    let addresses = getifaddrs().into_iter().flatten();
    addresses
        .filter(|found| found.interface_name == interface)
        .find_map(|found| Some(found.address?.as_sockaddr_in()?.ip()))
        .unwrap_or(Ipv4Addr::UNSPECIFIED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::colour::{Colorimetry, Range};
    use crate::format::Format;

    fn stream(port: u16, address: Option<Ipv4Addr>) -> Stream {
        Stream {
            port,
            address,
            source: None,
            payload_type: None,
            format: Format::Bgra,
            size: "2x2".parse().unwrap(),
            colorimetry: Colorimetry::Bt709,
            range: Range::Narrow,
        }
    }

    #[test]
    fn a_port_is_quiet_while_its_stream_is_received() {
        let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let listener = Listener::open(&stream(free, None), "lo").unwrap();
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        sender.connect((Ipv4Addr::LOCALHOST, free)).unwrap();
        for _ in 0..10 {
            // A closed port would answer, and the next send would be refused.
            sender.send(b"hello").unwrap();
        }
        let heard = nix::sys::socket::recv(
            listener.as_fd().as_raw_fd(),
            &mut [0; 16],
            nix::sys::socket::MsgFlags::MSG_DONTWAIT,
        );
        assert_eq!(heard, Err(Errno::EAGAIN), "not a packet waits in it");
        let sentence = Listener::open(&stream(free, None), "lo").unwrap_err().to_string();
        assert!(sentence.contains(&format!("port {free} is taken")), "{sentence}");
        drop(listener);
        let _ = sender.send(b"hello");
        assert!(sender.send(b"hello").is_err(), "the port is closed, and says so");
    }

    #[test]
    fn what_cannot_be_listened_to_is_named() {
        let foreign = Some(Ipv4Addr::new(192, 0, 2, 1));
        for (stream, interface, sentence) in [
            (stream(5004, None), "no-such-if", "there is no interface no-such-if"),
            (stream(5004, foreign), "lo", "192.0.2.1 is no address of this machine"),
        ] {
            let error = Listener::open(&stream, interface).unwrap_err().to_string();
            assert!(error.contains(sentence), "{error}");
        }
    }
}
