//! The filter of an AF_PACKET socket, apart from the socket.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use super::sys::{self, FilterInstruction};

/// The filter of a [`PacketNic`](super::PacketNic).
#[derive(Debug)]
pub struct PacketFilter(OwnedFd);

impl PacketFilter {
    /// That of this socket.
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// From here on, receives only packets for which this classic BPF program returns other than zero.
    ///
    /// # Errors
    /// What the kernel says of a program it does not accept.
    pub fn set(&self, program: &[FilterInstruction]) -> io::Result<()> {
        sys::set_filter(self.0.as_fd(), program)
    }
}
