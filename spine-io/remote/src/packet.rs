//! How a frame between two endpoints travels: on a link, or by UDP beyond it.
//!
//! Directly on a link the EtherType is one of those that IEEE 802 sets aside for experiments. UDP goes
//! without a checksum, as RFC 768 allows: the seal says more than it could.

use std::net::SocketAddrV4;

use super::peering::{FRAME_BYTES, Role};

/// The EtherType of messages between hosts: "local experimental 1" (IEEE 802, clause 9.2.4).
pub const ETHERTYPE: u16 = 0x88b5;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
const UDP_PROTOCOL: u8 = 17;
const TTL: u8 = 64;
const PACKET_BYTES: usize = ETHERNET + IPV4 + UDP + FRAME_BYTES;
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
        let destination = packet.first_chunk::<6>()?;
        let source = packet.get(6..12)?;
        let kind = word(packet, 12)?;
        match self {
            Self::Link { ours, theirs } => {
                let mine = destination == ours && source == theirs && kind == ETHERTYPE;
                let length = usize::from(word(packet, ETHERNET).filter(|_| mine)?);
                packet.get(ETHERNET + LENGTH..)?.get(..length)
            }
            Self::Udp { from, to, .. } => {
                let (ip, udp) = udp_to(packet, *from)?;
                let theirs = ip.get(12..16)? == to.ip().octets() && word(udp, 0)? == to.port();
                let length = usize::from(word(udp, 4).filter(|_| theirs)?);
                udp.get(UDP..length)
            }
        }
    }

    /// Whether a packet goes where this endpoint's go, whoever it is from.
    pub(super) fn is_alike(&self, packet: &[u8]) -> bool {
        match self {
            Self::Link { .. } => word(packet, 12) == Some(ETHERTYPE),
            Self::Udp { from, .. } => udp_to(packet, *from).is_some(),
        }
    }

    /// Hands the packet around a frame to `emit`.
    pub(super) fn packet(&self, frame: &[u8], emit: &mut impl FnMut(&[u8]) -> bool) -> bool {
        let mut packet = [0; PACKET_BYTES];
        let Ok(length) = u16::try_from(frame.len()) else { return true };
        let at = match self {
            Self::Link { ours, theirs } => {
                ethernet(&mut packet, *theirs, *ours, ETHERTYPE);
                packet[ETHERNET..ETHERNET + LENGTH].copy_from_slice(&length.to_be_bytes());
                ETHERNET + LENGTH
            }
            Self::Udp { ours, next_hop, from, to } => {
                ethernet(&mut packet, *next_hop, *ours, ETHERTYPE_IPV4);
                ipv4_udp(&mut packet[ETHERNET..], *from, *to, length);
                ETHERNET + IPV4 + UDP
            }
        };
        let Some(place) = packet.get_mut(at..at + frame.len()) else { return true };
        place.copy_from_slice(frame);
        emit(&packet[..(at + frame.len()).max(60)])
    }
}

/// The IPv4 header and all from the UDP header on, of a whole packet to this address and port.
fn udp_to(packet: &[u8], to: SocketAddrV4) -> Option<(&[u8], &[u8])> {
    let ip = packet.get(ETHERNET..).filter(|_| word(packet, 12) == Some(ETHERTYPE_IPV4))?;
    let whole = word(ip, 6)? & 0x3fff == 0;
    let udp = *ip.first()? == 0x45 && *ip.get(9)? == UDP_PROTOCOL && whole;
    let ours = ip.get(16..20).filter(|_| udp)? == to.ip().octets();
    let rest = ip.get(IPV4..).filter(|_| ours)?;
    (word(rest, 2)? == to.port()).then_some((ip, rest))
}

fn ethernet(packet: &mut [u8], destination: [u8; 6], source: [u8; 6], kind: u16) {
    packet[..6].copy_from_slice(&destination);
    packet[6..12].copy_from_slice(&source);
    packet[12..ETHERNET].copy_from_slice(&kind.to_be_bytes());
}

fn ipv4_udp(packet: &mut [u8], from: SocketAddrV4, to: SocketAddrV4, length: u16) {
    const HEADERS: u16 = 28;
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(HEADERS + length).to_be_bytes());
    // Never in fragments: a frame fits an ordinary MTU.
    packet[6] = 0x40;
    packet[8] = TTL;
    packet[9] = UDP_PROTOCOL;
    packet[12..16].copy_from_slice(&from.ip().octets());
    packet[16..20].copy_from_slice(&to.ip().octets());
    let words = packet[..IPV4].chunks_exact(2);
    let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap_or(0);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    let udp = &mut packet[IPV4..];
    udp[..2].copy_from_slice(&from.port().to_be_bytes());
    udp[2..4].copy_from_slice(&to.port().to_be_bytes());
    udp[4..6].copy_from_slice(&(8 + length).to_be_bytes());
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
