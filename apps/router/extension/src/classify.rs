//! First step: is this a packet that a router forwards?
//!
//! What Linux checks before it forwards, in Linux's sense (its 240/4 is ordinary space): what it would
//! throw away is dropped and counted here, since handing it over would cost more than the packet is
//! worth; what it would do anything else with is handed over.
//!
//! RFC 1812 5.2.2 lists the checks of the header, 5.3.7 those of the addresses.

use spine_sdk::{Reason, Verdict};

/// Bytes of the Ethernet header.
pub const ETHERNET_BYTES: usize = 14;
/// Bytes of the Ethernet header and of an IPv4 header without options.
pub const HEADER_BYTES: usize = 34;

const IPV4_BYTES: usize = HEADER_BYTES - ETHERNET_BYTES;
const ETHERTYPE_IPV4: u16 = 0x0800;
/// More fragments, or not the first one.
const FRAGMENT: u16 = 0x3fff;

/// What the following steps need to know of a packet that may be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Source address, host order.
    pub source: u32,
    /// Destination address, host order.
    pub destination: u32,
    /// Protocol number of what follows the header.
    pub protocol: u8,
    /// Bytes of the IP packet; the frame may be longer (padding).
    pub total_length: u16,
    /// Whether it is a fragment, so that the transport header is not to be trusted to be there.
    pub fragment: bool,
}

/// Checks the headers of a frame of `frame_length` bytes.
///
/// # Errors
/// The verdict for a packet that is not forwarded.
#[inline]
pub fn classify(headers: &[u8; HEADER_BYTES], frame_length: usize) -> Result<Packet, Verdict> {
    if word(headers, 12) != ETHERTYPE_IPV4 {
        return Err(Verdict::kernel(Reason::Unhandled));
    }
    match headers[ETHERNET_BYTES] {
        0x45 => {}
        0x46..=0x4f => return Err(Verdict::kernel(Reason::Options)),
        _ => return Err(Verdict::Drop(Reason::BadHeader)),
    }
    if header_sum(headers) != 0xffff {
        return Err(Verdict::Drop(Reason::BadChecksum));
    }
    let total_length = word(headers, 16);
    if usize::from(total_length) < IPV4_BYTES {
        return Err(Verdict::Drop(Reason::BadHeader));
    }
    if ETHERNET_BYTES + usize::from(total_length) > frame_length {
        return Err(Verdict::Drop(Reason::Truncated));
    }
    let (source, destination) = (double(headers, 26), double(headers, 30));
    addresses(source, destination)?;
    let ttl = headers[22];
    if ttl <= 1 {
        return Err(Verdict::kernel(Reason::TtlExceeded));
    }
    Ok(Packet {
        source,
        destination,
        protocol: headers[23],
        total_length,
        fragment: word(headers, 20) & FRAGMENT != 0,
    })
}

#[inline]
fn addresses(source: u32, destination: u32) -> Result<(), Verdict> {
    const BROADCAST: u32 = u32::MAX;
    let multicast = |address: u32| address >> 28 == 0xe;
    let never_on_a_wire = |address: u32| matches!(address >> 24, 0 | 127);
    // The kernel's order: these are its own before it looks at the source (DHCP has the source 0.0.0.0).
    if multicast(destination) {
        return Err(Verdict::kernel(Reason::Unhandled));
    }
    if destination == BROADCAST || source == 0 && destination == 0 {
        return Err(Verdict::kernel(Reason::Local));
    }
    let martian = never_on_a_wire(source)
        || multicast(source)
        || source == BROADCAST
        || never_on_a_wire(destination);
    if martian { Err(Verdict::Drop(Reason::Martian)) } else { Ok(()) }
}

/// The one's complement sum over the IPv4 header: 0xffff if the checksum is right (RFC 1071). The byte
/// order does not matter to that.
#[inline]
fn header_sum(headers: &[u8; HEADER_BYTES]) -> u16 {
    let (_, ipv4) = headers.split_at(ETHERNET_BYTES);
    let (words, _) = ipv4.as_chunks::<4>();
    let sum = words.iter().map(|word| u64::from(u32::from_le_bytes(*word))).sum();
    fold(sum)
}

/// Folds a sum of up to 2^16 words of 32 or 16 bits into 16, with the carries added back in.
#[inline]
pub(crate) const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) as u16
}

#[inline]
fn word(headers: &[u8; HEADER_BYTES], at: usize) -> u16 {
    u16::from_be_bytes([headers[at], headers[at + 1]])
}

#[inline]
fn double(headers: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_be_bytes([headers[at], headers[at + 1], headers[at + 2], headers[at + 3]])
}
