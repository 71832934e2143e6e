//! The system calls of AF_PACKET that no crate wraps without an allocation for each burst.
#![allow(unsafe_code, reason = "recvmmsg and sendmmsg on borrowed frames, and socket options")]

use std::collections::VecDeque;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use libc::{c_int, c_void, iovec, mmsghdr, socklen_t};
use spine_abi::limits::BURST;

use crate::buffer::{Frame, FrameMemory};

/// One instruction of a classic BPF program (`struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct FilterInstruction {
    /// What it does.
    pub code: u16,
    /// Instructions to skip if true.
    pub jt: u8,
    /// Instructions to skip if false.
    pub jf: u8,
    /// Its constant.
    pub k: u32,
}

/// What the kernel said of one received packet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Arrival {
    /// Its length on the wire, which may be more than there was room for.
    pub(super) bytes: usize,
    /// The VLAN tag that was taken out of it: EtherType and tag, as on the wire.
    pub(super) tag: Option<[u8; 4]>,
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The length of a `T` as socket calls want it.
#[expect(clippy::cast_possible_truncation, reason = "no type here is larger than a page")]
const fn length_of<T>() -> socklen_t {
    size_of::<T>() as socklen_t
}

/// A batch's length as socket calls want it.
#[expect(clippy::cast_possible_truncation, reason = "at most a burst")]
const fn batch_length(count: usize) -> u32 {
    assert!(count <= BURST);
    count as u32
}

/// An address family or EtherType, which libc has as wider numbers than the structures have fields.
#[expect(clippy::cast_possible_truncation, reason = "all of them have 16 bits")]
const fn short(number: c_int) -> u16 {
    number as u16
}

fn set_option<T>(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let length = length_of::<T>();
    // SAFETY: `value` is `length` readable bytes for the duration of the call.
    check(unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, name, ptr::from_ref(value).cast(), length)
    })?;
    Ok(())
}

/// A raw socket that receives every packet that arrives on the interface with this index, and the
/// interface's kind of hardware (`ARPHRD_*`).
pub(super) fn open(interface: c_int) -> io::Result<(OwnedFd, u16)> {
    // Protocol zero: nothing is received before the socket is bound to its interface.
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no memory.
    let socket = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the descriptor was just made, and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let fd = std::os::fd::AsFd::as_fd(&socket);
    set_option(fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1 as &c_int)?;
    set_option(fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1 as &c_int)?;
    // SAFETY: all zero is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = short(libc::AF_PACKET);
    address.sll_protocol = short(libc::ETH_P_ALL).to_be();
    address.sll_ifindex = interface;
    let length = length_of::<libc::sockaddr_ll>();
    // SAFETY: `address` is `length` readable bytes for the duration of the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), ptr::from_ref(&address).cast(), length) })?;
    // Shorter than a whole sockaddr_ll by what the link-layer address leaves free.
    let mut length = length;
    // SAFETY: `address` is `length` writable bytes, and any bytes are valid in it.
    check(unsafe {
        libc::getsockname(socket.as_raw_fd(), ptr::from_mut(&mut address).cast(), &raw mut length)
    })?;
    Ok((socket, address.sll_hatype))
}

/// Attaches a classic BPF program.
pub(super) fn set_filter(socket: BorrowedFd<'_>, program: &[FilterInstruction]) -> io::Result<()> {
    const _: () = assert!(size_of::<FilterInstruction>() == size_of::<libc::sock_filter>());
    let len = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The kernel only reads the instructions, whatever the pointer's type says.
    let filter = program.as_ptr().cast::<libc::sock_filter>().cast_mut();
    let program = libc::sock_fprog { len, filter };
    set_option(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Packets lost since the last call because the socket's buffer was full.
pub(super) fn lost(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = length_of::<libc::tpacket_stats>();
    // SAFETY: `statistics` is `length` writable bytes, and any bytes are valid in it.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            ptr::from_mut(&mut statistics).cast(),
            &raw mut length,
        )
    })?;
    Ok(u64::from(statistics.tp_drops))
}

/// Room for the one control message the kernel adds to each packet.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

// SAFETY: CMSG_SPACE is arithmetic.
const CONTROL_BYTES: usize =
    unsafe { libc::CMSG_SPACE(length_of::<libc::tpacket_auxdata>()) } as usize;

/// Receives up to one packet into each frame, without waiting, and says how many there were.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    memory: &FrameMemory,
    frames: &mut [Frame],
    arrivals: &mut [Arrival; BURST],
) -> io::Result<usize> {
    let mut vectors = [const { MaybeUninit::<iovec>::uninit() }; BURST];
    let mut controls = [const { MaybeUninit::<Control>::uninit() }; BURST];
    let mut headers = [const { MaybeUninit::<mmsghdr>::uninit() }; BURST];
    let count = frames.len().min(BURST);
    for (position, frame) in frames.iter_mut().enumerate().take(count) {
        let room = memory.room_mut(frame);
        let vector = vectors[position]
            .write(iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() });
        // SAFETY: all zero is a valid mmsghdr (null pointers, no lengths).
        let header = headers[position].write(unsafe { std::mem::zeroed() });
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = controls[position].as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = CONTROL_BYTES;
    }
    // MSG_TRUNC: tell the packet's own length also where it did not fit.
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: the first `count` headers are initialised; each points to one vector and one control
    // buffer, which live in this function, and the vector to the room of a frame that is borrowed
    // exclusively and no other vector points to (frames do not overlap).
    let received = check(unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr().cast(),
            batch_length(count),
            flags,
            ptr::null_mut(),
        )
    })?;
    let received = usize::try_from(received).unwrap_or(0).min(count);
    for (header, arrival) in headers[..received].iter().zip(arrivals.iter_mut()) {
        // SAFETY: initialised above, for every position below `count`.
        let header = unsafe { header.assume_init_ref() };
        *arrival = Arrival { bytes: header.msg_len as usize, tag: tag(header) };
    }
    Ok(received)
}

/// The VLAN tag in a packet's control message.
fn tag(header: &mmsghdr) -> Option<[u8; 4]> {
    // SAFETY: `msg_control` points to `msg_controllen` bytes that the kernel wrote.
    let control = unsafe { libc::CMSG_FIRSTHDR(&raw const header.msg_hdr) };
    if control.is_null() {
        return None;
    }
    // SAFETY: not null, so a whole header is there.
    let head = unsafe { &*control };
    let whole = size_of::<libc::cmsghdr>() + size_of::<libc::tpacket_auxdata>();
    if head.cmsg_level != libc::SOL_PACKET
        || head.cmsg_type != libc::PACKET_AUXDATA
        || (head.cmsg_len as usize) < whole
    {
        return None;
    }
    // SAFETY: the message is of this type and long enough, by the check above; any bytes are valid.
    let data =
        unsafe { ptr::read_unaligned(libc::CMSG_DATA(control).cast::<libc::tpacket_auxdata>()) };
    if data.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let kind = if data.tp_status & libc::TP_STATUS_VLAN_TPID_VALID == 0 {
        short(libc::ETH_P_8021Q)
    } else {
        data.tp_vlan_tpid
    };
    let [kind_high, kind_low] = kind.to_be_bytes();
    let [high, low] = data.tp_vlan_tci.to_be_bytes();
    Some([kind_high, kind_low, high, low])
}

/// Sends packets from the front of `frames`, without waiting, and says how many went.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    memory: &FrameMemory,
    frames: &VecDeque<Frame>,
) -> io::Result<usize> {
    let mut vectors = [const { MaybeUninit::<iovec>::uninit() }; BURST];
    let mut headers = [const { MaybeUninit::<mmsghdr>::uninit() }; BURST];
    let count = frames.len().min(BURST);
    for (position, frame) in frames.iter().enumerate().take(count) {
        let packet = memory.packet(frame);
        let start = packet.as_ptr().cast::<c_void>().cast_mut();
        let vector = vectors[position].write(iovec { iov_base: start, iov_len: packet.len() });
        // SAFETY: all zero is a valid mmsghdr (null pointers, no lengths).
        let header = headers[position].write(unsafe { std::mem::zeroed() });
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: the first `count` headers are initialised; each points to one vector in this function,
    // and the vector to a packet that is borrowed; the kernel only reads packets it sends.
    let sent = check(unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr().cast(),
            batch_length(count),
            libc::MSG_DONTWAIT,
        )
    })?;
    Ok(usize::try_from(sent).unwrap_or(0))
}
