//! Third step: what a router changes in a packet.

use core::net::Ipv4Addr;

use spine_fib::NextHop;
use spine_headers::{checksum, ethernet, in_u8, in_u16, ipv4, protocol, tcp, udp};
use spine_sdk::ChecksumRequest;

use crate::classify::{HEADER_BYTES, Packet};

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
pub fn without_padding(packet: &Packet, frame_length: usize) -> u16 {
    let length = packet.total_length.saturating_add(ETHERNET);
    if usize::from(length) < frame_length { length } else { 0 }
}

/// What remains to be done for the transport checksum, if its sender left it to a network card.
///
/// Such a sender (Linux's CHECKSUM_PARTIAL) leaves the sum over the pseudo-header in the field, and on a
/// virtual wire no card ever completes it. A finished checksum may by chance equal that sum: then
/// completing it yields the same checksum again, so being wrong does no harm.
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
