//! A netlink socket: dumps and requests answered, notifications received.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN,
};
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::wire::{self, Raw};

/// The kernel sends dumps in datagrams of at most 32 KiB; notifications are smaller.
const DATAGRAM_BYTES: usize = 64 << 10;
/// A table that changes while it is being dumped is dumped again this often.
const ATTEMPTS: usize = 16;
/// The dump was not consistent (linux/netlink.h).
const NLM_F_DUMP_INTR: u16 = 0x10;
/// No answer of the kernel takes this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came of asking the kernel.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The kernel's error number, or the socket's.
    #[error("{what}: {error}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// The answer.
        error: io::Error,
    },
    /// It changed under every attempt to read it.
    #[error("{what}: the kernel's table kept changing while it was read")]
    Unstable {
        /// What was asked for.
        what: &'static str,
    },
}

impl NetlinkError {
    /// Whether this process may not ask.
    pub fn is_forbidden(&self) -> bool {
        let Self::Refused { error, .. } = self else { return false };
        matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
    }

    /// Whether the kernel does not have what was asked about.
    pub fn is_unsupported(&self) -> bool {
        let Self::Refused { error, .. } = self else { return false };
        matches!(
            error.raw_os_error(),
            Some(
                libc::EOPNOTSUPP
                    | libc::EPROTONOSUPPORT
                    | libc::EINVAL
                    | libc::ENOENT
                    | libc::EAFNOSUPPORT
            )
        )
    }
}

/// What reading a socket without waiting gives.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// A datagram was handed to the callback.
    Datagram,
    /// Nothing waits.
    Nothing,
    /// The kernel had to drop notifications: what we know may be wrong.
    Overrun,
}

/// A netlink socket of one protocol.
pub struct NetlinkSocket {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl NetlinkSocket {
    /// Opens one, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`], for a protocol the kernel does not have.
    pub fn open(protocol: isize) -> Result<Self, NetlinkError> {
        let refused = |error| NetlinkError::Refused { what: "netlink socket", error };
        let mut socket = Socket::new(protocol).map_err(refused)?;
        socket.bind_auto().map_err(refused)?;
        let patience = TimeVal::milliseconds(PATIENCE.as_millis().try_into().unwrap_or(i64::MAX));
        setsockopt(&socket, sockopt::ReceiveTimeout, &patience).map_err(|e| refused(e.into()))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(DATAGRAM_BYTES) })
    }

    /// Subscribes to a multicast group.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`], for a group the kernel does not have.
    pub fn join(&self, group: u32) -> Result<(), NetlinkError> {
        let refused = |error| NetlinkError::Refused { what: "netlink subscription", error };
        self.socket.add_membership(group).map_err(refused)
    }

    /// Makes room for this many bytes of notifications: beyond the system's limit with
    /// CAP_NET_ADMIN, else up to it.
    pub fn set_receive_buffer(&self, bytes: usize) {
        if setsockopt(&self.socket, sockopt::RcvBufForce, &bytes).is_err()
            && let Err(error) = setsockopt(&self.socket, sockopt::RcvBuf, &bytes)
        {
            tracing::warn!(%error, bytes, "netlink receive buffer stays small");
        }
    }

    /// The descriptor to wait on.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads one datagram, if one waits, and hands over its messages.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] when the socket is broken.
    pub fn receive(&mut self, mut each: impl FnMut(Raw<'_>)) -> Result<Received, NetlinkError> {
        match self.read(libc::MSG_DONTWAIT) {
            Ok(()) => {
                let mut overrun = false;
                for raw in wire::messages(&self.buffer) {
                    overrun |= raw.kind == NLMSG_OVERRUN;
                    each(raw);
                }
                Ok(if overrun { Received::Overrun } else { Received::Datagram })
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => Ok(Received::Nothing),
                Some(libc::EINTR) => Ok(Received::Datagram),
                Some(libc::ENOBUFS) => Ok(Received::Overrun),
                _ => Err(NetlinkError::Refused { what: "netlink notifications", error }),
            },
        }
    }

    fn read(&mut self, flags: i32) -> io::Result<()> {
        self.buffer.clear();
        let (length, _) = self.socket.recv_from(&mut self.buffer, flags | libc::MSG_TRUNC)?;
        if length > self.buffer.len() {
            // Cut: as good as lost.
            return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
        }
        Ok(())
    }

    /// Asks for all of something; `each` turns the messages into what is wanted of them.
    ///
    /// # Errors
    /// [`NetlinkError`], naming `what` was asked for.
    pub fn dump<T>(
        &mut self,
        what: &'static str,
        kind: u16,
        payload: &[u8],
        mut each: impl FnMut(Raw<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        for _ in 0..ATTEMPTS {
            self.send(kind, NLM_F_REQUEST | NLM_F_DUMP, payload)
                .map_err(|error| NetlinkError::Refused { what, error })?;
            let mut found = Vec::new();
            let consistent = self
                .answers(|raw| found.extend(each(raw)))
                .map_err(|error| NetlinkError::Refused { what, error })?;
            if consistent {
                return Ok(found);
            }
        }
        Err(NetlinkError::Unstable { what })
    }

    /// Asks for one thing; `each` turns the messages of the answer into what is wanted of them.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`], naming `what` was asked for.
    pub fn get<T>(
        &mut self,
        what: &'static str,
        kind: u16,
        payload: &[u8],
        mut each: impl FnMut(Raw<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let mut found = Vec::new();
        self.send(kind, NLM_F_REQUEST | NLM_F_ACK, payload)
            .and_then(|()| self.answers(|raw| found.extend(each(raw))))
            .map_err(|error| NetlinkError::Refused { what, error })?;
        Ok(found)
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`], naming `what` was asked for.
    pub fn request(
        &mut self,
        what: &'static str,
        kind: u16,
        flags: u16,
        payload: &[u8],
    ) -> Result<(), NetlinkError> {
        self.send(kind, NLM_F_REQUEST | NLM_F_ACK | flags, payload)
            .and_then(|()| self.answers(|_| ()))
            .map(|_| ())
            .map_err(|error| NetlinkError::Refused { what, error })
    }

    /// Asks for several things at once, to be done all or not at all: kind, flags and payload of each,
    /// the messages that begin and end the batch included.
    ///
    /// # Errors
    /// [`NetlinkError::Refused`] with the first error, naming `what` was asked for.
    pub fn batch(
        &mut self,
        what: &'static str,
        messages: &[(u16, u16, Vec<u8>)],
    ) -> Result<(), NetlinkError> {
        self.send_batch(messages).map_err(|error| NetlinkError::Refused { what, error })
    }

    fn send_batch(&mut self, messages: &[(u16, u16, Vec<u8>)]) -> io::Result<()> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        for (position, (kind, flags, payload)) in messages.iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            // The last one before the end is answered in any case.
            let ack = if position + 2 == messages.len() { NLM_F_ACK } else { 0 };
            let flags = NLM_F_REQUEST | ack | flags;
            bytes.extend(wire::message(*kind, flags, self.sequence, payload));
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        // The kernel has answered by now. Without any answer the batch was not even read.
        let mut outcome = Err(io::ErrorKind::InvalidInput.into());
        let mut refused = None;
        while self.read(libc::MSG_DONTWAIT).is_ok() {
            for raw in wire::messages(&self.buffer) {
                let ours = raw.sequence.wrapping_sub(first) < self.sequence.wrapping_sub(first) + 1;
                if raw.kind != NLMSG_ERROR || !ours {
                    continue;
                }
                match wire::u32_at(raw.payload, 0).unwrap_or(0).cast_signed() {
                    0.. => outcome = Ok(()),
                    code => {
                        let error = || io::Error::from_raw_os_error(code.wrapping_neg());
                        refused.get_or_insert_with(error);
                    }
                }
            }
        }
        refused.map_or(outcome, Err)
    }

    fn send(&mut self, kind: u16, flags: u16, payload: &[u8]) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let message = wire::message(kind, flags, self.sequence, payload);
        self.socket.send_to(&message, &SocketAddr::new(0, 0), 0).map(|_| ())
    }

    /// Reads up to the end of the answer to the last request; whether a dump was consistent.
    fn answers(&mut self, mut each: impl FnMut(Raw<'_>)) -> io::Result<bool> {
        let mut consistent = true;
        loop {
            match self.read(0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for raw in wire::messages(&self.buffer) {
                if raw.sequence != self.sequence {
                    continue;
                }
                consistent &= raw.flags & NLM_F_DUMP_INTR == 0;
                match raw.kind {
                    // Both carry a negative error number first, zero for success.
                    NLMSG_ERROR | NLMSG_DONE => {
                        let code = wire::u32_at(raw.payload, 0).unwrap_or(0).cast_signed();
                        return match code {
                            0.. => Ok(consistent),
                            _ => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
                        };
                    }
                    _ => each(raw),
                }
            }
        }
    }
}
