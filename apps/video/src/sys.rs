//! The socket options that no crate has, and frame buffers as memory: the crate's only unsafe code.
#![allow(unsafe_code, reason = "setsockopt with structures, and references into shared memory")]

use std::io;
use std::mem::size_of;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::AtomicU32;

use memmap2::{MmapOptions, MmapRaw};
use spine_abi::frame_buffer::{self, Geometry};
use spine_abi::mailbox::Reader;
use spine_client::memory::Region;

/// Sets a socket option whose value is a plain structure of the C library's.
fn set<T: Copy>(socket: impl AsFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    let bytes = libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default();
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for the call (AsFd); the kernel reads `bytes` bytes from a value that
    // lives as long as the call, of the type that belongs to the option (this file's callers), and keeps
    // nothing of it.
    let result =
        unsafe { libc::setsockopt(socket, level, option, std::ptr::from_ref(value).cast(), bytes) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn octets(address: Ipv4Addr) -> libc::in_addr {
    libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) }
}

fn of_interface(group: Ipv4Addr, index: u32) -> libc::ip_mreqn {
    libc::ip_mreqn {
        imr_multiaddr: octets(group),
        imr_address: octets(Ipv4Addr::UNSPECIFIED),
        imr_ifindex: i32::try_from(index).unwrap_or_default(),
    }
}

/// Has packets to groups leave by an interface.
///
/// # Errors
/// What the kernel says.
pub(crate) fn set_multicast_interface(socket: &UdpSocket, index: u32) -> io::Result<()> {
    let request = of_interface(Ipv4Addr::UNSPECIFIED, index);
    set(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, &request)
}

/// Joins a group on an interface, whoever sends to it.
///
/// # Errors
/// What the kernel says.
pub(crate) fn join(socket: &UdpSocket, group: Ipv4Addr, index: u32) -> io::Result<()> {
    set(socket, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &of_interface(group, index))
}

/// Joins a group for what one host sends to it; `interface` is an address of the interface.
///
/// # Errors
/// What the kernel says.
pub(crate) fn join_source(
    socket: &UdpSocket,
    group: Ipv4Addr,
    interface: Ipv4Addr,
    source: Ipv4Addr,
) -> io::Result<()> {
    let request = libc::ip_mreq_source {
        imr_multiaddr: octets(group),
        imr_interface: octets(interface),
        imr_sourceaddr: octets(source),
    };
    set(socket, libc::IPPROTO_IP, libc::IP_ADD_SOURCE_MEMBERSHIP, &request)
}

/// Has the kernel drop whatever comes in on a socket, without a word to the sender.
///
/// # Errors
/// What the kernel says.
pub(crate) fn drop_all(socket: &UdpSocket) -> io::Result<()> {
    /// BPF_RET | BPF_K: take so many bytes of the packet; none drops it.
    const RETURN: u16 = 0x06;
    let mut program = [libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: 0 }];
    let filter = libc::sock_fprog { len: 1, filter: program.as_mut_ptr() };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &filter)
}

/// A window's buffer as the application has it: the slot that is ours, as pixels.
///
/// Invariants: the file cannot shrink (it is a [`Region`]'s, sealed); whoever fills the buffer keeps to the
/// mailbox (`spine_abi::mailbox`: checked by a model there), so that the slot named by our `Reader` is
/// written by nobody while we have it.
pub(crate) struct Slots {
    mapping: MmapRaw,
    geometry: Geometry,
    reader: Reader,
}

impl Slots {
    /// Maps the buffer.
    ///
    /// # Errors
    /// The region is smaller than the geometry says; what the system says.
    pub(crate) fn new(region: &Region, geometry: Geometry) -> io::Result<Self> {
        if region.len() < geometry.bytes() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mapping = MmapOptions::new().len(geometry.bytes()).map_raw(region.file())?;
        Ok(Self { mapping, geometry, reader: Reader::new(geometry.slots()) })
    }

    /// The form of the buffer.
    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Which slot is ours.
    pub(crate) fn front(&self) -> usize {
        self.reader.front()
    }

    /// Takes the newest frame, if there is a new one; the slot that was ours until now is given back, so
    /// there must be no user of it left outside of this process either.
    pub(crate) fn take(&mut self) -> bool {
        const { assert!(frame_buffer::MAILBOX.is_multiple_of(4)) };
        const { assert!(frame_buffer::MAILBOX + 4 <= frame_buffer::HEADER_BYTES) };
        // SAFETY: the header page is in every mapping (`new`), and the mailbox word in the header page.
        let word = unsafe { self.mapping.as_mut_ptr().add(frame_buffer::MAILBOX) };
        // SAFETY: aligned (a mapping starts on a page), backed while `self` lives (invariant), and
        // reached as an atomic by everybody.
        let word = unsafe { AtomicU32::from_ptr(word.cast()) };
        self.reader.take(word)
    }

    /// The pixels of our slot: `0x..RRGGBB`, line after line, without gaps.
    pub(crate) fn pixels(&self) -> &[u32] {
        let length = self.geometry.pixel_bytes() / 4;
        // SAFETY: a slot is inside the mapping (`new` checked its length against the geometry, and a
        // reader's slot is one of the geometry's); page aligned, so aligned for u32.
        let start = unsafe { self.mapping.as_ptr().add(self.geometry.pixels(self.reader.front())) };
        // SAFETY: as above, and any bits are pixels; nobody writes the slot while it is ours (invariant),
        // and giving it back (`take`) needs `&mut self`, which ends this borrow first.
        unsafe { std::slice::from_raw_parts(start.cast(), length) }
    }
}
