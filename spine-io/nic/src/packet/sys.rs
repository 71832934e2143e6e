//! The system calls of AF_PACKET that no crate wraps without an allocation for each burst.
#![allow(unsafe_code, reason = "recvmmsg and sendmmsg on borrowed frames, and socket options")]

use std::collections::VecDeque;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::{io, ptr};

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
    /// Its length, which may be more than there was room for.
    pub(super) bytes: usize,
    /// The VLAN tag that was taken out of it: EtherType and tag, as on the wire.
    pub(super) tag: Option<[u8; 4]>,
    /// What its sender, or a card that merges packets, left undone.
    pub(super) offload: Offload,
    /// When the kernel received it, in nanoseconds of CLOCK_REALTIME, where it was asked to say so
    /// ([`time_arrivals`]).
    pub(super) at: Option<u64>,
}

/// What is still to be done to a packet (`struct virtio_net_hdr`, in the machine's byte order).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Offload {
    /// `VIRTIO_NET_HDR_F_*`.
    pub(super) flags: u8,
    /// `VIRTIO_NET_HDR_GSO_*`: the packet stands for several.
    pub(super) kind: u8,
    /// Bytes of its headers, which the kernel only estimates.
    headers: u16,
    /// Bytes of data in each of the packets it stands for.
    pub(super) segment: u16,
    /// Where checksumming starts.
    pub(super) checksum_start: u16,
    /// Where the checksum goes, from there.
    pub(super) checksum_offset: u16,
}

/// Bytes of an [`Offload`].
const OFFLOAD_BYTES: usize = 10;
const _: () = assert!(size_of::<Offload>() == OFFLOAD_BYTES);
/// Says that each packet has an [`Offload`] in front, both ways (linux/if_packet.h).
const PACKET_VNET_HDR: c_int = 15;
/// A checksum is to be completed (linux/virtio_net.h).
pub(super) const NEEDS_CHECKSUM: u8 = 1;
/// The packet is TCP over IPv4, to be cut; a flag beside it says that it has ECN's CWR.
pub(super) const SEGMENTS_TCP4: u8 = 1;
pub(super) const SEGMENTS_ECN: u8 = 0x80;

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

/// A raw socket on the interface with this index, and the interface's kind of hardware (`ARPHRD_*`).
/// It receives every packet that arrives there and that the filter lets pass.
pub(super) fn open(
    interface: c_int,
    filter: Option<&[FilterInstruction]>,
) -> io::Result<(OwnedFd, u16)> {
    let socket = socket()?;
    let fd = std::os::fd::AsFd::as_fd(&socket);
    set_option(fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1 as &c_int)?;
    set_option(fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1 as &c_int)?;
    set_option(fd, libc::SOL_PACKET, PACKET_VNET_HDR, &1 as &c_int)?;
    if let Some(program) = filter {
        set_filter(fd, program)?;
    }
    let hardware = bind(fd, interface, libc::ETH_P_ALL)?;
    Ok((socket, hardware))
}

/// A raw socket on the interface with this index that receives nothing.
pub(super) fn open_to_send(interface: c_int) -> io::Result<OwnedFd> {
    let socket = socket()?;
    bind(std::os::fd::AsFd::as_fd(&socket), interface, 0)?;
    Ok(socket)
}

fn socket() -> io::Result<OwnedFd> {
    // Protocol zero: nothing is received before the socket is bound to its interface.
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes no memory.
    let socket = check(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
    // SAFETY: the descriptor was just made, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

/// Binds a socket to an interface and an EtherType, and answers the kind of hardware.
fn bind(socket: BorrowedFd<'_>, interface: c_int, protocol: c_int) -> io::Result<u16> {
    // SAFETY: all zero is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = short(libc::AF_PACKET);
    address.sll_protocol = short(protocol).to_be();
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
    Ok(address.sll_hatype)
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

/// Has the kernel say of each packet when it received it. The stamp is taken where the packet leaves the
/// driver, for all sockets of the machine as long as one asks for it.
pub(super) fn time_arrivals(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1 as &c_int)
}

/// Room for the two control messages the kernel adds to a packet.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

// SAFETY: CMSG_SPACE is arithmetic.
const CONTROL_BYTES: usize = unsafe {
    libc::CMSG_SPACE(length_of::<libc::tpacket_auxdata>())
        + libc::CMSG_SPACE(length_of::<libc::timespec>())
} as usize;

/// Receives up to one packet into each frame, without waiting, and says how many there were. What does
/// not fit into a frame goes on in its part of `spill`, each of `each` bytes, and there as far from the
/// start as the frame's room is long.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    memory: &FrameMemory,
    frames: &mut [Frame],
    spill: &mut [u8],
    each: usize,
    arrivals: &mut [Arrival; BURST],
) -> io::Result<usize> {
    let mut offloads = [Offload::default(); BURST];
    let mut vectors = [const { MaybeUninit::<[iovec; 3]>::uninit() }; BURST];
    let mut controls = [const { MaybeUninit::<Control>::uninit() }; BURST];
    let mut headers = [const { MaybeUninit::<mmsghdr>::uninit() }; BURST];
    let count = frames.len().min(BURST);
    assert!(each > 0 && count <= spill.len() / each, "a part of the spill for each frame");
    let spills = spill.chunks_exact_mut(each);
    for (position, (frame, spill)) in frames.iter_mut().zip(spills).enumerate().take(count) {
        let room = memory.room_mut(frame);
        let rest = spill.get_mut(room.len()..).unwrap_or_default();
        let vector = vectors[position].write([
            iovec {
                iov_base: ptr::from_mut(&mut offloads[position]).cast(),
                iov_len: OFFLOAD_BYTES,
            },
            iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() },
            iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: rest.len() },
        ]);
        // SAFETY: all zero is a valid mmsghdr (null pointers, no lengths).
        let header = headers[position].write(unsafe { std::mem::zeroed() });
        header.msg_hdr.msg_iov = vector.as_mut_ptr();
        header.msg_hdr.msg_iovlen = vector.len();
        header.msg_hdr.msg_control = controls[position].as_mut_ptr().cast();
        header.msg_hdr.msg_controllen = CONTROL_BYTES;
    }
    // MSG_TRUNC: tell the packet's own length also where it did not fit.
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: the first `count` headers are initialised (the assertion); each points to three vectors and
    // one control buffer, which live in this function, and the vectors to an offload in this function,
    // to the room of a frame and to a part of the spill, all borrowed exclusively and none pointed to
    // by two vectors (neither frames nor parts overlap); any bytes are valid in an offload.
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
    let described = headers[..received].iter().zip(offloads);
    for ((header, offload), arrival) in described.zip(arrivals.iter_mut()) {
        // SAFETY: initialised above, for every position below `count`.
        let header = unsafe { header.assume_init_ref() };
        let bytes = (header.msg_len as usize).saturating_sub(OFFLOAD_BYTES);
        *arrival = Arrival { bytes, offload, ..said(header) };
    }
    Ok(received)
}

/// What a packet's control messages say: the tag that was taken out of it, and when it came.
fn said(header: &mmsghdr) -> Arrival {
    let mut arrival = Arrival::default();
    // SAFETY: `msg_control` points to `msg_controllen` bytes that the kernel wrote.
    let mut control = unsafe { libc::CMSG_FIRSTHDR(&raw const header.msg_hdr) };
    while !control.is_null() {
        // SAFETY: not null, so a whole header is there.
        let head = unsafe { &*control };
        match (head.cmsg_level, head.cmsg_type) {
            (libc::SOL_PACKET, libc::PACKET_AUXDATA) => arrival.tag = data(head).and_then(tag),
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => arrival.at = data(head).and_then(nanos),
            _ => {}
        }
        // SAFETY: as for the first: the next one lies in the same bytes, or there is none.
        control = unsafe { libc::CMSG_NXTHDR(&raw const header.msg_hdr, control) };
    }
    arrival
}

/// What the kernel says in control messages.
///
/// # Safety
/// Any bytes are valid in it.
unsafe trait Said: Copy {}
// SAFETY: integers and nothing else.
unsafe impl Said for libc::tpacket_auxdata {}
// SAFETY: as above.
unsafe impl Said for libc::timespec {}

/// What is in a control message, if it is long enough for that.
fn data<T: Said>(head: &libc::cmsghdr) -> Option<T> {
    // SAFETY: CMSG_LEN is arithmetic.
    let whole = unsafe { libc::CMSG_LEN(length_of::<T>()) };
    if head.cmsg_len < whole as usize {
        return None;
    }
    // SAFETY: the message has so many bytes behind its header, by the check above, and any are valid.
    Some(unsafe { ptr::read_unaligned(libc::CMSG_DATA(head).cast::<T>()) })
}

/// The VLAN tag, as on the wire.
fn tag(data: libc::tpacket_auxdata) -> Option<[u8; 4]> {
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

/// A time in nanoseconds.
fn nanos(time: libc::timespec) -> Option<u64> {
    let seconds = u64::try_from(time.tv_sec).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(u64::try_from(time.tv_nsec).ok()?)
}

/// Sends packets from the front of `frames`, without waiting, and says how many went.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    memory: &FrameMemory,
    frames: &VecDeque<Frame>,
) -> io::Result<usize> {
    // Nothing is left for the kernel to do to any of them.
    let finished = Offload::default();
    let mut vectors = [const { MaybeUninit::<[iovec; 2]>::uninit() }; BURST];
    let mut headers = [const { MaybeUninit::<mmsghdr>::uninit() }; BURST];
    let count = frames.len().min(BURST);
    for (position, frame) in frames.iter().enumerate().take(count) {
        let packet = memory.packet(frame);
        let offload = ptr::from_ref(&finished).cast::<c_void>().cast_mut();
        let start = packet.as_ptr().cast::<c_void>().cast_mut();
        let vector = vectors[position].write([
            iovec { iov_base: offload, iov_len: OFFLOAD_BYTES },
            iovec { iov_base: start, iov_len: packet.len() },
        ]);
        // SAFETY: all zero is a valid mmsghdr (null pointers, no lengths).
        let header = headers[position].write(unsafe { std::mem::zeroed() });
        header.msg_hdr.msg_iov = vector.as_mut_ptr();
        header.msg_hdr.msg_iovlen = vector.len();
    }
    // SAFETY: the first `count` headers are initialised; each points to two vectors in this function,
    // and these to an offload in it and to a packet that is borrowed; the kernel only reads what it
    // sends.
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
