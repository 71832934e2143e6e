//! How a frame between two endpoints travels: on a link, or by UDP beyond it.
//!
//! Directly on a link the EtherType is one of those that IEEE 802 sets aside for experiments. UDP goes
//! without a checksum, as RFC 768 allows: the seal says more than it could.

use std::net::SocketAddrV4;

use spine_headers::ethernet::{self, ether_type};
use spine_headers::{in_u16, ipv4, protocol, udp};

use super::peering::{FRAME_BYTES, Role};

/// The EtherType of messages between hosts.
pub const ETHERTYPE: u16 = ether_type::EXPERIMENTAL_1;

const PACKET_BYTES: usize = ethernet::BYTES + ipv4::BYTES + udp::BYTES + FRAME_BYTES;
/// Ethernet pads shorter packets; a frame carries no length of its own, so we do it, and the length of
/// the frame stands behind the EtherType.
const LENGTH: usize = 2;

/// How packets to and from a remote endpoint are addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteAddress {
    /// On the same link.
    Link {
        /// Our link-layer address.
        ours: [u8; 6],
        /// Theirs.
        theirs: [u8; 6],
    },
    /// Anywhere, by UDP.
    Udp {
        /// Our link-layer address.
        ours: [u8; 6],
        /// The next hop's.
        next_hop: [u8; 6],
        /// Our address and port.
        from: SocketAddrV4,
        /// Theirs.
        to: SocketAddrV4,
    },
}

impl RemoteAddress {
    /// The one with the lower address opens the handshake.
    pub fn role(&self) -> Role {
        let lower = match self {
            Self::Link { ours, theirs } => ours < theirs,
            Self::Udp { from, to, .. } => from < to,
        };
        if lower { Role::Initiator } else { Role::Responder }
    }

    /// The frame in a packet that is from this endpoint and for us.
    pub(super) fn payload<'a>(&self, packet: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Link { ours, theirs } => {
                let (ethernet, rest) = ethernet::Header::split(packet).ok()?;
                let mine = ethernet.destination() == *ours && ethernet.source() == *theirs;
                if !mine || ethernet.ether_type() != ETHERTYPE {
                    return None;
                }
                let (length, rest) = rest.split_first_chunk::<LENGTH>()?;
                rest.get(..usize::from(u16::from_be_bytes(*length)))
            }
            Self::Udp { from, to, .. } => {
                let (source, datagram) = udp_to(packet, *from)?;
                (source == *to).then_some(datagram.payload)
            }
        }
    }

    /// Whether a packet goes where this endpoint's go, whoever it is from.
    pub(super) fn is_alike(&self, packet: &[u8]) -> bool {
        match self {
            Self::Link { .. } => {
                let ethernet = ethernet::Header::split(packet);
                ethernet.is_ok_and(|(ethernet, _)| ethernet.ether_type() == ETHERTYPE)
            }
            Self::Udp { from, .. } => udp_to(packet, *from).is_some(),
        }
    }

    /// Hands the packet around a frame to `emit`.
    pub(super) fn packet(&self, frame: &[u8], emit: &mut impl FnMut(&[u8]) -> bool) -> bool {
        let Ok(length) = u16::try_from(frame.len()) else { return true };
        if frame.len() > FRAME_BYTES {
            return true;
        }
        let mut packet = [0; PACKET_BYTES];
        let mut end = 0;
        let mut append = |bytes: &[u8]| {
            packet[end..end + bytes.len()].copy_from_slice(bytes);
            end += bytes.len();
        };
        match self {
            Self::Link { ours, theirs } => {
                append(&ethernet(*theirs, *ours, ETHERTYPE));
                append(&length.to_be_bytes());
            }
            Self::Udp { ours, next_hop, from, to } => {
                append(&ethernet(*next_hop, *ours, ether_type::IPV4));
                let udp = udp::Fields {
                    source_port: from.port(),
                    destination_port: to.port(),
                    payload: length,
                };
                let all = in_u16(udp::BYTES) + length;
                // Never in fragments: a frame fits an ordinary MTU.
                append(&ipv4::Fields::new(*from.ip(), *to.ip(), protocol::UDP, all).to_bytes());
                append(&udp.to_bytes());
            }
        }
        append(frame);
        emit(&packet[..end.max(ethernet::LEAST_BYTES)])
    }
}

/// Where a whole packet to this address and port comes from, and what it carries.
fn udp_to(packet: &[u8], to: SocketAddrV4) -> Option<(SocketAddrV4, udp::Datagram<'_>)> {
    let (ethernet, rest) = ethernet::Header::split(packet).ok()?;
    if ethernet.ether_type() != ether_type::IPV4 {
        return None;
    }
    let ipv4::Packet { header: ip, options, payload } = ipv4::Packet::read(rest).ok()?;
    let is_udp = options.is_empty() && ip.protocol() == protocol::UDP && !ip.is_fragment();
    if !is_udp || ip.destination() != *to.ip() {
        return None;
    }
    let datagram = udp::Datagram::read(payload).ok()?;
    let source = SocketAddrV4::new(ip.source(), datagram.header.source_port());
    (datagram.header.destination_port() == to.port()).then_some((source, datagram))
}

fn ethernet(
    destination: ethernet::Address,
    source: ethernet::Address,
    ether_type: u16,
) -> [u8; ethernet::BYTES] {
    ethernet::Fields { destination, source, ether_type }.to_bytes()
}
