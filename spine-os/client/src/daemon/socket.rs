//! The control socket: packets with file descriptors beside them.
//!
//! A Unix socket of sequenced packets (`SOCK_SEQPACKET`): the kernel keeps what was sent together
//! together, so there are no half messages and no lengths to believe. A packet of no bytes cannot
//! be told from a hang-up, and is one.
//!
//! Invariants: a packet over [`PACKET_BYTES`] or with more than [`DESCRIPTORS`] descriptors is an
//! error, never cut short in silence; descriptors that come are closed on exec, and closed when
//! nobody takes them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use super::protocol::{DESCRIPTORS, PACKET_BYTES};

/// One end of a control connection.
#[derive(Debug)]
pub struct Connection(OwnedFd);

/// Who is at the other end, as the kernel saw him connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// His process, 0 where it cannot be seen from here.
    pub process: i32,
    /// His user.
    pub user: u32,
    /// His group.
    pub group: u32,
}

/// A packet that came.
#[derive(Debug)]
pub struct Packet {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What came beside it.
    pub descriptors: Vec<OwnedFd>,
}

/// What came of waiting for a packet.
#[derive(Debug)]
pub enum Received {
    /// A packet.
    Packet(Packet),
    /// Nothing yet.
    Nothing,
    /// The other end has gone.
    HungUp,
    /// What came is none: too large, or too many descriptors; all of it is gone.
    Unfit(&'static str),
}

impl Connection {
    /// Connects to a daemon.
    ///
    /// # Errors
    /// What the kernel says: nobody listens, or one may not.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let socket = seqpacket(SocketFlags::CLOEXEC)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self(socket))
    }

    /// Listens at a path that is free.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn listen(path: &Path) -> io::Result<OwnedFd> {
        let socket = seqpacket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
        rustix::net::listen(&socket, 64)?;
        Ok(socket)
    }

    /// The next client of a listening socket; `None` when there is none.
    ///
    /// # Errors
    /// What the kernel says: no descriptors left, for one.
    pub fn accept(listener: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        match rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
            Ok(socket) => Ok(Some(Self(socket))),
            Err(
                rustix::io::Errno::AGAIN | rustix::io::Errno::CONNABORTED | rustix::io::Errno::INTR,
            ) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Two connected ends, for tests.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(one), Self(other)))
    }

    /// Who is at the other end.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn peer(&self) -> io::Result<Peer> {
        let found = getsockopt(&self.0, sockopt::PeerCredentials)?;
        Ok(Peer { process: found.pid(), user: found.uid(), group: found.gid() })
    }

    /// Sends a packet without waiting for room.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where there is none; otherwise the other end has gone.
    pub fn try_send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(bytes, descriptors, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    /// Sends a packet, waiting for room.
    ///
    /// # Errors
    /// The other end has gone.
    pub fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(bytes, descriptors, SendFlags::NOSIGNAL)
    }

    fn send_with(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        rustix::net::sendmsg(&self.0, &[IoSlice::new(bytes)], &mut beside, flags)?;
        Ok(())
    }

    /// Ends the connection for both ends, whoever else still holds its descriptor. What was sent
    /// can still be received.
    pub fn hang_up(&self) {
        // An error says that the other end was first.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }

    /// The next packet, if one is there.
    ///
    /// # Errors
    /// What the kernel says; the connection is of no more use then.
    pub fn try_receive(&self) -> io::Result<Received> {
        let mut bytes = vec![0; PACKET_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let parts = &mut [IoSliceMut::new(&mut bytes)];
        let got = match rustix::net::recvmsg(&self.0, parts, &mut beside, flags) {
            Ok(got) => got,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {
                return Ok(Received::Nothing);
            }
            Err(rustix::io::Errno::CONNRESET) => return Ok(Received::HungUp),
            Err(errno) => return Err(errno.into()),
        };
        let mut descriptors = Vec::new();
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(came) = message {
                descriptors.extend(came);
            }
        }
        if got.flags.contains(ReturnFlags::TRUNC) {
            return Ok(Received::Unfit("a packet is larger than any request"));
        }
        if got.flags.contains(ReturnFlags::CTRUNC) {
            return Ok(Received::Unfit("more file descriptors came than any request needs"));
        }
        if got.bytes == 0 {
            return Ok(Received::HungUp);
        }
        bytes.truncate(got.bytes);
        Ok(Received::Packet(Packet { bytes, descriptors }))
    }

    /// The next packet, waiting for it at most this long.
    ///
    /// # Errors
    /// As [`try_receive`](Self::try_receive).
    pub fn receive(&self, timeout: Duration) -> io::Result<Received> {
        let end = std::time::Instant::now() + timeout;
        loop {
            match self.try_receive()? {
                Received::Nothing => {}
                received => return Ok(received),
            }
            let left = end.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return Ok(Received::Nothing);
            }
            let mut wait = [rustix::event::PollFd::new(&self.0, rustix::event::PollFlags::IN)];
            // Rounded up, so that a wait of less than a millisecond is one.
            let left = rustix::event::Timespec::try_from(left).map_err(io::Error::other)?;
            match rustix::event::poll(&mut wait, Some(&left)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn seqpacket(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    fn packets_stay_whole_and_bring_their_descriptors() {
        let (here, there) = Connection::pair().unwrap();
        assert!(matches!(there.try_receive().unwrap(), Received::Nothing));
        here.send(b"one", &[]).unwrap();
        here.send(b"two", &[here.as_fd(), there.as_fd()]).unwrap();
        let Received::Packet(one) = there.try_receive().unwrap() else { panic!("one") };
        let Received::Packet(two) = there.receive(Duration::from_secs(1)).unwrap() else {
            panic!("two")
        };
        assert_eq!((one.bytes.as_slice(), one.descriptors.len()), (b"one".as_slice(), 0));
        assert_eq!((two.bytes.as_slice(), two.descriptors.len()), (b"two".as_slice(), 2));
        assert_eq!(there.peer().unwrap().user, nix::unistd::geteuid().as_raw());
        drop((here, two));
        assert!(matches!(there.try_receive().unwrap(), Received::HungUp));
    }

    #[test]
    fn what_is_too_large_or_brings_too_many_descriptors_is_refused_and_leaks_nothing() {
        let (here, there) = Connection::pair().unwrap();
        here.send(&vec![1; PACKET_BYTES + 1], &[]).unwrap();
        assert!(matches!(there.try_receive().unwrap(), Received::Unfit(_)));
        here.send(&vec![1; PACKET_BYTES], &[]).unwrap();
        assert!(matches!(there.try_receive().unwrap(), Received::Packet(_)));

        let before = open_descriptors();
        let many = vec![here.as_fd(); 200];
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(200))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        assert!(beside.push(SendAncillaryMessage::ScmRights(&many)));
        let parts = [IoSlice::new(b"flood")];
        rustix::net::sendmsg(&here, &parts, &mut beside, SendFlags::empty()).unwrap();
        assert!(matches!(there.try_receive().unwrap(), Received::Unfit(_)));
        // Other tests open files at the same time, but not two hundred.
        assert!(open_descriptors() < before + 100);
    }
}
