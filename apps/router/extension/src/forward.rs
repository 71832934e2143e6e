//! Third step: what a router changes in a packet. For IPv4; for IPv6 see [`crate::ipv6`].

use core::net::Ipv4Addr;

use spine_fib::{Load, NextHop, flow_hash};
use spine_headers::{checksum, ethernet, in_u8, in_u16, ipv4, ports, protocol, tcp, udp};
use spine_sdk::ChecksumRequest;

use crate::classify::{HEADER_BYTES, Packet};
use crate::packet::{self, Half};

/// Where the transport header starts.
const TRANSPORT: u8 = in_u8(HEADER_BYTES);
const ETHERNET: u16 = in_u16(ethernet::BYTES);
const IPV4: u16 = in_u16(ipv4::BYTES);
const UDP: u16 = in_u16(udp::BYTES);
const TCP: u16 = in_u16(tcp::BYTES);

/// Takes one from the TTL, corrects the header checksum, and writes the link-layer addresses of the
/// next hop. The TTL is not zero: [`classify`](crate::classify::classify) saw to that.
#[inline]
pub fn rewrite(headers: &mut [u8; HEADER_BYTES], hop: &NextHop) {
    if let Some(addresses) = headers.first_chunk_mut() {
        hop.addresses.write(addresses);
    }
    if let Ok((mut ip, _)) = ipv4::Header::split_mut(&mut headers[ethernet::BYTES..]) {
        ip.take_hop();
    }
}

/// The frame's bytes without the padding that Ethernet put behind a short packet; zero if there is
/// none. Padding is not forwarded: it could make a frame too long for the way out.
#[inline(always)]
pub(crate) fn without_padding(packet: &impl packet::Packet, frame_length: usize) -> u16 {
    let length = packet.total_length().saturating_add(ETHERNET);
    if usize::from(length) < frame_length { length } else { 0 }
}

/// What remains to be done for the transport checksum, see `Packet::partial_checksum`.
#[inline(always)]
pub fn partial_checksum(packet: &Packet, prefix: &[u8]) -> Option<ChecksumRequest> {
    let (offset, least) = match packet.protocol {
        protocol::TCP => (in_u8(tcp::offset::CHECKSUM), TCP),
        protocol::UDP => (in_u8(udp::offset::CHECKSUM), UDP),
        _ => return None,
    };
    let length = packet.total_length.saturating_sub(IPV4);
    if packet.fragment || length < least {
        return None;
    }
    let field = prefix.get(HEADER_BYTES + usize::from(offset)..)?.first_chunk::<2>()?;
    let field = u16::from_be_bytes(*field);
    let address = Ipv4Addr::from_bits;
    let (source, destination) = (address(packet.source), address(packet.destination));
    let sum = checksum::pseudo_ipv4(source, destination, packet.protocol, length);
    // Zero in UDP says "none", and no pseudo-header sums to zero.
    (field == checksum::fold(sum)).then_some(ChecksumRequest { start: TRANSPORT, offset })
}

/// Both ports, zero where there are none. All fragments of a packet, the first one too, have none:
/// else they would go different ways.
fn both_ports(packet: &Packet, prefix: &[u8]) -> u32 {
    if packet.fragment || !ports::starts(packet.protocol) {
        return 0;
    }
    // Of a packet too short to have ports, padding is read: it has a hash as well.
    let ports = prefix.get(HEADER_BYTES..).and_then(<[u8]>::first_chunk::<{ ports::BYTES }>);
    ports.map_or(0, |ports| u32::from_le_bytes(*ports))
}

impl packet::Packet for Packet {
    #[inline(always)]
    fn total_length(&self) -> u16 {
        self.total_length
    }

    #[inline(always)]
    fn group<Region: Load>(&self, half: &Half<'_, Region>) -> u16 {
        half.lookup(self.destination)
    }

    #[inline(always)]
    fn flow_hash(&self, prefix: &[u8]) -> u32 {
        flow_hash(self.source, self.destination, self.protocol, both_ports(self, prefix))
    }

    #[inline(always)]
    fn partial_checksum(&self, prefix: &[u8]) -> Option<ChecksumRequest> {
        partial_checksum(self, prefix)
    }

    #[inline(always)]
    fn rewrite(&self, prefix: &mut [u8], hop: &NextHop) {
        if let Some(headers) = prefix.first_chunk_mut::<HEADER_BYTES>() {
            rewrite(headers, hop);
        }
    }
}
