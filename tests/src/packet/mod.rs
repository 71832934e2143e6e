//! Single packets: made, sent and received on an interface, past the host's own stack.

mod sys;

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, MultiHeaders, SockFlag, SockType, recvmsg, send,
    sendmmsg, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeSpec, TimeVal};
use spine_headers::ethernet::{self, ether_type};
use spine_headers::{ipv4, protocol, udp};
use spine_packets::frames;

use crate::namespace::Namespace;

/// A packet socket on one interface: sends whole frames, receives those of one kind that come in.
#[derive(Debug)]
pub struct Port {
    socket: OwnedFd,
}

/// A frame that came in, and when the kernel saw it.
#[derive(Debug, Clone)]
pub struct Received {
    /// When.
    pub at: SystemTime,
    /// All of the frame, from the Ethernet header on.
    pub frame: Vec<u8>,
}

impl Port {
    /// Opens a socket for IPv4 on an interface of `namespace`. It sees frames to anybody, and none that leave.
    pub fn open(namespace: &Namespace, interface: &str) -> Self {
        Self::open_for(namespace, interface, ether_type::IPV4)
    }

    /// The same for frames of this EtherType.
    pub fn open_for(namespace: &Namespace, interface: &str, ether_type: u16) -> Self {
        let socket = namespace
            .inside(|| open(interface, ether_type))
            .unwrap_or_else(|error| panic!("{}: {interface}: {error}", namespace.name()));
        Self { socket }
    }

    /// Sends one frame, of at least 14 bytes; whether the link took it: one whose other end is down, or has a smaller MTU,
    /// does not.
    pub fn try_send(&self, frame: &[u8]) -> bool {
        send(self.socket.as_raw_fd(), frame, MsgFlags::empty()) == Ok(frame.len())
    }

    /// Sends one frame, of at least 14 bytes.
    pub fn send(&self, frame: &[u8]) {
        let sent = send(self.socket.as_raw_fd(), frame, MsgFlags::empty());
        assert_eq!(sent, Ok(frame.len()), "sending a frame of {} bytes", frame.len());
    }

    /// Sends many frames, each of at least 14 bytes, with as few system calls as it takes.
    pub fn send_burst(&self, frames: &[Vec<u8>]) {
        /// Frames of one system call.
        const MOST: usize = 64;
        for some in frames.chunks(MOST) {
            let slices: Vec<[IoSlice<'_>; 1]> =
                some.iter().map(|frame| [IoSlice::new(frame)]).collect();
            let mut left = slices.as_slice();
            while !left.is_empty() {
                let mut headers = MultiHeaders::<()>::preallocate(left.len(), None);
                let nowhere = vec![None; left.len()];
                let fd = self.socket.as_raw_fd();
                let sent = sendmmsg(fd, &mut headers, left, nowhere, [], MsgFlags::empty())
                    .unwrap_or_else(|errno| panic!("sending {} frames: {errno}", left.len()));
                left = &left[sent.count()..];
            }
        }
    }

    /// The next frame; `None` if none comes within 20 ms.
    pub fn receive(&self) -> Option<Received> {
        let mut bytes = [0; 2048];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let mut space = nix::cmsg_space!(TimeSpec);
        let message =
            recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty())
                .ok()?;
        let stamp = message.cmsgs().ok()?.find_map(|part| match part {
            ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp),
            _ => None,
        })?;
        let length = message.bytes;
        let at = SystemTime::UNIX_EPOCH + Duration::from(stamp);
        Some(Received { at, frame: bytes[..length].to_vec() })
    }

    /// Collects what comes in until `done` is set and nothing has come for 20 ms.
    pub fn collect_until(&self, done: &AtomicBool) -> Vec<Received> {
        let mut all = Vec::new();
        loop {
            match self.receive() {
                Some(received) => all.push(received),
                None if done.load(Ordering::Acquire) => return all,
                None => {}
            }
        }
    }
}

fn open(interface: &str, ether_type: u16) -> std::io::Result<OwnedFd> {
    // Protocol 0 receives nothing until it is bound, so no frame of another interface slips in.
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::RcvBufForce, &(256 << 20))?;
    setsockopt(&socket, sockopt::SndBufForce, &(16 << 20))?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::new(0, 20_000))?;
    let index = nix::net::if_::if_nametoindex(interface)?;
    sys::bind(socket.as_fd(), index, ether_type)?;
    Ok(socket)
}

/// The parts of a UDP packet that tests vary; the rest follows from them.
#[derive(Debug, Clone)]
pub struct Udp<'a> {
    /// Link-layer destination.
    pub to_mac: [u8; 6],
    /// Link-layer source.
    pub from_mac: [u8; 6],
    /// IPv4 source.
    pub from: Ipv4Addr,
    /// IPv4 destination.
    pub to: Ipv4Addr,
    /// Time to live.
    pub ttl: u8,
    /// "Don't fragment".
    pub keep_whole: bool,
    /// What follows the UDP header.
    pub payload: &'a [u8],
}

impl Udp<'_> {
    /// The frame. Ports are 9 (discard); the UDP checksum is left out, as RFC 768 allows.
    pub fn frame(&self) -> Vec<u8> {
        const DISCARD: u16 = 9;
        let ends = [self.from, self.to].map(|address| SocketAddrV4::new(address, DISCARD));
        let mut frame = frames::udp([self.to_mac, self.from_mac], ends, self.payload);
        let fields = ipv4::Fields {
            ttl: self.ttl,
            keep_whole: self.keep_whole,
            ..ipv4::Fields::new(
                self.from,
                self.to,
                protocol::UDP,
                u16::try_from(udp::BYTES + self.payload.len()).expect("a payload below 64 KiB"),
            )
        };
        frame[ethernet::BYTES..][..ipv4::BYTES].copy_from_slice(&fields.to_bytes());
        frame
    }
}

/// The IPv4 packet in a frame; `None` if it is not a whole one.
pub fn ipv4(frame: &[u8]) -> Option<ipv4::Packet<'_>> {
    ipv4::Packet::read(frame.get(ethernet::BYTES..)?).ok()
}

/// The bytes of the IP packet in a frame, without what Ethernet padded it with; `None` if it is not a
/// whole one.
pub fn ip_packet(frame: &[u8]) -> Option<&[u8]> {
    let bytes = frame.get(ethernet::BYTES..)?;
    let (header, _) = ipv4::Header::split(bytes).ok()?;
    bytes.get(..usize::from(header.total_length()))
}

/// IPv4 source of a frame; `None` if it is too short.
pub fn source(frame: &[u8]) -> Option<Ipv4Addr> {
    let (header, _) = ipv4::Header::split(frame.get(ethernet::BYTES..)?).ok()?;
    Some(header.source())
}

/// Link-layer destination of a frame; `None` if it is too short.
pub fn to_mac(frame: &[u8]) -> Option<[u8; 6]> {
    let (header, _) = ethernet::Header::split(frame).ok()?;
    Some(header.destination())
}

/// A stream's number in a packet that [`send_stream`] sent; `None` for any other packet.
pub fn sequence(frame: &[u8]) -> Option<u32> {
    let payload = frame.get(ethernet::BYTES + ipv4::BYTES + udp::BYTES..)?;
    let (magic, rest) = payload.split_first_chunk::<4>()?;
    (magic == STREAM_MAGIC).then_some(u32::from_be_bytes(*rest.first_chunk()?))
}

const STREAM_MAGIC: &[u8; 4] = b"flow";

/// The payload of a packet that carries a number, to be read back by [`sequence`].
pub fn numbered(number: u32) -> Vec<u8> {
    [*STREAM_MAGIC, number.to_be_bytes(), [0; 4]].concat()
}

/// Sends the packets of `like` at an even `rate` a second, numbered from 0 in their payload, until `stop`
/// is set. Returns when each was sent.
pub fn send_stream(port: &Port, like: &Udp<'_>, rate: u32, stop: &AtomicBool) -> Vec<SystemTime> {
    let pause = Duration::from_secs(1) / rate;
    let mut sent = Vec::new();
    let mut next = Instant::now();
    while !stop.load(Ordering::Acquire) {
        let number = u32::try_from(sent.len()).expect("fewer than 2^32 packets");
        let frame = Udp { payload: &numbered(number), ..like.clone() }.frame();
        sent.push(SystemTime::now());
        port.send(&frame);
        next += pause;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_packet_has_a_header_that_sums_to_nothing() {
        let frame = example().frame();
        assert!(ipv4(&frame).is_some_and(|packet| packet.has_right_checksum()));
        assert_eq!(source(&frame), Some(Ipv4Addr::new(10, 9, 1, 2)));
    }

    #[test]
    fn padding_is_no_part_of_the_ip_packet() {
        let mut frame = example().frame();
        let length = frame.len();
        frame.resize(60, 0xee);
        assert_eq!(ip_packet(&frame), Some(&frame[ethernet::BYTES..length]));
    }

    #[test]
    fn a_packet_cut_short_is_not_an_ip_packet() {
        let frame = example().frame();
        assert_eq!(ip_packet(&frame[..frame.len() - 1]), None);
    }

    #[test]
    fn only_packets_of_a_stream_have_a_number() {
        assert_eq!(sequence(&example().frame()), None);
        let numbered = Udp { payload: b"flow\x00\x00\x01\x02", ..example() };
        assert_eq!(sequence(&numbered.frame()), Some(0x102));
    }

    fn example() -> Udp<'static> {
        Udp {
            to_mac: [2; 6],
            from_mac: [4; 6],
            from: Ipv4Addr::new(10, 9, 1, 2),
            to: Ipv4Addr::new(10, 9, 2, 2),
            ttl: 64,
            keep_whole: false,
            payload: b"abc",
        }
    }
}
