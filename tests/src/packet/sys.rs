//! Binding a packet socket: the one step that the `nix` crate has no safe call for.
#![allow(unsafe_code, reason = "nix cannot make the address of a packet socket")]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Binds a packet socket to an interface, for frames of `protocol` (an EtherType).
pub(super) fn bind(socket: BorrowedFd<'_>, interface: u32, protocol: u16) -> io::Result<()> {
    // SAFETY: all zeros is a valid value of this plain C structure.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::c_ushort::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = interface.cast_signed();
    let length = libc::socklen_t::try_from(size_of_val(&address)).map_err(io::Error::other)?;
    // SAFETY: the address is a live local of exactly the size given, and the socket is open.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
