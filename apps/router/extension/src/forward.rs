//! Third step: what a router changes in a packet.

use spine_fib::NextHop;
use spine_sdk::ChecksumRequest;

use crate::classify::{ETHERNET_BYTES, HEADER_BYTES, Packet, fold};

const TTL: usize = ETHERNET_BYTES + 8;
const CHECKSUM: usize = ETHERNET_BYTES + 10;
/// Where the transport header starts.
const TRANSPORT: u8 = 34;
const IPV4_BYTES: u16 = 20;
const _: () = assert!(TRANSPORT as usize == HEADER_BYTES);
const ETHERNET: u16 = 14;

const _: () = assert!(ETHERNET as usize == ETHERNET_BYTES);
const _: () = assert!(IPV4_BYTES as usize == HEADER_BYTES - ETHERNET_BYTES);

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Takes one from the TTL, corrects the header checksum, and writes the link-layer addresses of the
/// next hop. The TTL is not zero: [`classify`](crate::classify::classify) saw to that.
#[inline]
pub fn rewrite(headers: &mut [u8; HEADER_BYTES], hop: &NextHop) {
    if let Some(addresses) = headers.first_chunk_mut() {
        hop.addresses.write(addresses);
    }
    headers[TTL] = headers[TTL].wrapping_sub(1);
    let old = u16::from_le_bytes([headers[CHECKSUM], headers[CHECKSUM + 1]]);
    headers[CHECKSUM..CHECKSUM + 2].copy_from_slice(&one_hop_less(old).to_le_bytes());
}

/// The header checksum after the TTL has gone down by one (RFC 1141, RFC 1624).
///
/// The checksum, read as little-endian, is the complement of a sum in which the TTL counts single units;
/// so it goes up by one, and a carry comes back in at the bottom. 0xffff is the other zero of one's
/// complement arithmetic, which no complete computation gives: it is written as 0, as Linux does.
#[inline]
pub const fn one_hop_less(checksum: u16) -> u16 {
    let sum = checksum as u32 + 1;
    // Without a branch: a carry, or the other zero, and both make one more.
    ((sum + (sum >= 0xffff) as u32) & 0xffff) as u16
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
        TCP => (16u8, 20),
        UDP => (6u8, 8),
        _ => return None,
    };
    let length = packet.total_length.saturating_sub(IPV4_BYTES);
    if packet.fragment || length < least {
        return None;
    }
    let field = prefix.get(HEADER_BYTES + usize::from(offset)..)?.first_chunk::<2>()?;
    let field = u16::from_be_bytes(*field);
    let sum = u64::from(packet.source)
        + u64::from(packet.destination)
        + u64::from(packet.protocol)
        + u64::from(length);
    // Zero in UDP says "none", and no pseudo-header sums to zero.
    (field == fold(sum)).then_some(ChecksumRequest { start: TRANSPORT, offset })
}
