//! Doorbells: how an end that sleeps is woken, and learns that the other is dead.
//!
//! A pair of connected Unix sockets, one for each end; a ring is one byte. Not an eventfd, for two reasons.
//! Its two users share one open file: the other end could make it blocking, drain it or fill it at the wrong
//! moment, and our next call on it would never return. A socket is ours alone, and each call on it
//! says itself that it must not wait. And when the other process dies, however it does, its socket hangs up.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, getsockname, getsockopt, recv,
    send, shutdown, socketpair, sockopt,
};

/// The other end has closed its doorbell: it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HungUp;

/// One end's side.
#[derive(Debug)]
pub struct Bell(OwnedFd);

/// Rings heard at once: each is a byte.
const RINGS: usize = 64;

impl Bell {
    /// Both sides of a new doorbell.
    ///
    /// # Errors
    /// What socketpair says.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(one), Self(other)))
    }

    /// Takes a descriptor that somebody else says is one side; `None` if it is no such socket.
    ///
    /// Checked before anything waits on it: polling some kinds of file runs code of whoever made them.
    pub fn open_checked(fd: OwnedFd) -> Option<Self> {
        let stream = getsockopt(&fd, sockopt::SockType) == Ok(SockType::Stream);
        (stream && getsockname::<UnixAddr>(fd.as_raw_fd()).is_ok()).then_some(Self(fd))
    }

    /// Rings. One that was not heard yet is as good.
    ///
    /// # Errors
    /// [`HungUp`].
    pub fn ring(&self) -> Result<(), HungUp> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match send(self.fd(), &[1], flags) {
            // Interrupted before it waited, which it does not do: then it is full and readable.
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR) => Ok(()),
            Err(_) => Err(HungUp),
        }
    }

    /// Silences it; says whether it had been rung.
    ///
    /// # Errors
    /// [`HungUp`].
    pub fn silence(&self) -> Result<bool, HungUp> {
        match recv(self.fd(), &mut [0; RINGS], MsgFlags::MSG_DONTWAIT) {
            Ok(0) => Err(HungUp),
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
            Err(_) => Err(HungUp),
        }
    }

    /// Hangs up at once, whoever else still has the descriptor: a poll in flight, a child process.
    pub fn hang_up(&self) {
        // An error says that the other side was first.
        let _ = shutdown(self.fd(), Shutdown::Both);
    }

    /// What becomes readable when it is rung or hung up.
    pub fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// The descriptor, to be passed on.
    pub fn into_fd(self) -> OwnedFd {
        self.0
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_heard_once_and_never_waits() {
        let (ours, theirs) = Bell::pair().unwrap();
        assert_eq!(ours.silence(), Ok(false));
        theirs.ring().unwrap();
        assert_eq!(ours.silence(), Ok(true));
        assert_eq!(ours.silence(), Ok(false));
        for _ in 0..100_000 {
            theirs.ring().unwrap();
        }
        assert_eq!(ours.silence(), Ok(true));
    }

    #[test]
    fn an_end_that_is_gone_is_noticed_from_both_calls() {
        let (ours, theirs) = Bell::pair().unwrap();
        theirs.hang_up();
        assert_eq!((ours.silence(), ours.ring()), (Err(HungUp), Err(HungUp)));
        let (ours, theirs) = Bell::pair().unwrap();
        ours.ring().unwrap();
        drop(theirs);
        assert_eq!((ours.silence(), ours.ring()), (Err(HungUp), Err(HungUp)));
    }

    #[test]
    fn only_connected_unix_streams_are_taken() {
        let (ours, _theirs) = Bell::pair().unwrap();
        assert!(Bell::open_checked(ours.into_fd()).is_some());
        let file = tempfile::tempfile().unwrap();
        assert!(Bell::open_checked(file.into()).is_none());
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(Bell::open_checked(udp.into()).is_none());
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(Bell::open_checked(tcp.into()).is_none());
        let (reader, _writer) = std::io::pipe().unwrap();
        assert!(Bell::open_checked(reader.into()).is_none());
    }
}
