//! The three steps for IPv6 (RFC 8200).
//!
//! The header has no checksum, and nobody but its sender cuts a packet; a hop takes one from the hop limit, and that is
//! all that changes. What is in doubt is the kernel's: addresses that are not for forwarding (RFC 4291 2.5 to 2.7),
//! a hop-by-hop header, which is for routers to read, hop limits that are used up. Any other extension header is its
//! destination's and is forwarded unread, as the kernel does, a routing header for somebody else among them.

use spine_fib::{Load, NextHop, flow_hash_ipv6};
use spine_headers::ipv6::{self, extension};
use spine_headers::{checksum, ethernet, in_u8, in_u16, ports, protocol, tcp, udp};
use spine_sdk::{ChecksumRequest, Reason, Verdict};

use crate::packet::{self, Half};

/// Bytes of the Ethernet header and of an IPv6 header without extension headers.
pub const HEADER_BYTES: usize = ethernet::BYTES + ipv6::BYTES;
/// Bytes of a packet to see: the headers, and TCP's as far as its checksum.
pub const PREFIX_BYTES: usize = HEADER_BYTES + tcp::offset::CHECKSUM + 2;

/// Where the transport header starts, where no extension header is before it.
const TRANSPORT: u8 = in_u8(HEADER_BYTES);
const UDP: u16 = in_u16(udp::BYTES);
const TCP: u16 = in_u16(tcp::BYTES);

/// What the following steps need to know of a packet that may be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
    /// What its sender numbers flows with; zero if it does not.
    pub label: u32,
    /// What follows the header.
    pub next_header: u8,
    /// Bytes of the IP packet; the frame may be longer (padding).
    pub total_length: u16,
}

/// Checks the headers of a frame of `frame_length` bytes that says it is IPv6.
///
/// # Errors
/// The verdict for a packet that is not forwarded.
#[inline]
pub fn classify(prefix: &[u8], frame_length: usize) -> Result<Packet, Verdict> {
    let truncated = |_| Verdict::Drop(Reason::Truncated);
    let bytes = prefix.get(ethernet::BYTES..).unwrap_or_default();
    let (ip, _) = ipv6::Header::split(bytes).map_err(truncated)?;
    if ip.version() != 6 {
        return Err(Verdict::Drop(Reason::BadHeader));
    }
    let total_length = ipv6::BYTES + usize::from(ip.payload_length());
    if ethernet::BYTES + total_length > frame_length {
        return Err(Verdict::Drop(Reason::Truncated));
    }
    // No frame is that long.
    let total_length = u16::try_from(total_length).map_err(|_| Verdict::Drop(Reason::Truncated))?;
    let (source, destination) = halves(ip.addresses());
    if is_special(&source) || is_special(&destination) {
        return Err(Verdict::kernel(Reason::Martian));
    }
    if ip.next_header() == extension::HOP_BY_HOP {
        return Err(Verdict::kernel(Reason::Options));
    }
    if ip.hop_limit() <= 1 {
        return Err(Verdict::kernel(Reason::TtlExceeded));
    }
    let (label, next_header) = (ip.flow_label(), ip.next_header());
    Ok(Packet { source, destination, label, next_header, total_length })
}

/// The source's and the destination's part of both addresses.
#[inline(always)]
fn halves(addresses: &[u8; 32]) -> ([u8; 16], [u8; 16]) {
    let (mut source, mut destination) = ([0; 16], [0; 16]);
    source.copy_from_slice(&addresses[..16]);
    destination.copy_from_slice(&addresses[16..]);
    (source, destination)
}

/// Addresses that are not for forwarding: groups (ff00::/8), of one link (fe80::/10), and those whose first 64 bits are
/// zero, among them "none yet" (::), loopback (::1) and IPv4's (::ffff:0:0/96).
#[inline(always)]
fn is_special(address: &[u8; 16]) -> bool {
    let start = address.first_chunk().map_or(0, |start| u64::from_le_bytes(*start));
    let first = ((start & 0xffff) as u16).swap_bytes();
    (first >= 0xff00) | (first & 0xffc0 == 0xfe80) | (start == 0)
}

impl packet::Packet for Packet {
    #[inline(always)]
    fn total_length(&self) -> u16 {
        self.total_length
    }

    #[inline(always)]
    fn group<Region: Load>(&self, half: &Half<'_, Region>) -> u16 {
        half.lookup_ipv6(&self.destination)
    }

    #[inline(always)]
    fn flow_hash(&self, prefix: &[u8]) -> u32 {
        // Behind an extension header, that of a fragment among them, nothing is looked for.
        let at = prefix.get(HEADER_BYTES..).and_then(<[u8]>::first_chunk::<{ ports::BYTES }>);
        let ports = match at {
            Some(ports) if ports::starts(self.next_header) => u32::from_le_bytes(*ports),
            _ => 0,
        };
        flow_hash_ipv6(&self.source, &self.destination, self.label, self.next_header, ports)
    }

    #[inline(always)]
    fn partial_checksum(&self, prefix: &[u8]) -> Option<ChecksumRequest> {
        let (offset, least) = match self.next_header {
            protocol::TCP => (in_u8(tcp::offset::CHECKSUM), TCP),
            protocol::UDP => (in_u8(udp::offset::CHECKSUM), UDP),
            _ => return None,
        };
        let length = self.total_length.saturating_sub(in_u16(ipv6::BYTES));
        if length < least {
            return None;
        }
        let field = prefix.get(HEADER_BYTES + usize::from(offset)..)?.first_chunk::<2>()?;
        let sum = checksum::sum_of(&self.source)
            + checksum::sum_of(&self.destination)
            + u64::from(self.next_header)
            + u64::from(length);
        let is_partial = u16::from_be_bytes(*field) == checksum::fold(sum);
        // Zero in UDP would say "none", and no pseudo-header sums to zero.
        is_partial.then_some(ChecksumRequest { start: TRANSPORT, offset })
    }

    #[inline(always)]
    fn rewrite(&self, prefix: &mut [u8], hop: &NextHop) {
        if let Some(addresses) = prefix.first_chunk_mut() {
            hop.addresses.write(addresses);
        }
        let bytes = prefix.get_mut(ethernet::BYTES..).unwrap_or_default();
        if let Ok((mut ip, _)) = ipv6::Header::split_mut(bytes) {
            ip.take_hop();
        }
    }
}
