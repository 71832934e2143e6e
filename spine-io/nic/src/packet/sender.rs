//! Sending alone, without frames: for whoever has a packet now and then.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{MsgFlags, send};

use super::{PacketError, index, refusal, sys};

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
