//! First step: is this a packet that a router forwards? For IPv4; for IPv6 see [`crate::ipv6`].
//!
//! What Linux checks before it forwards, in Linux's sense (its 240/4 is ordinary space): what it would
//! throw away is dropped and counted here, since handing it over would cost more than the packet is
//! worth; what it would do anything else with is handed over.
//!
//! RFC 1812 5.2.2 lists the checks of the header, 5.3.7 those of the addresses.

use spine_headers::{ethernet, ipv4};
use spine_sdk::{Reason, Verdict};

/// Bytes of the Ethernet header and of an IPv4 header without options.
pub const HEADER_BYTES: usize = ethernet::BYTES + ipv4::BYTES;

/// The first bytes of headers with options.
const LEAST_OPTIONS: u8 = ipv4::PLAIN + 1;
const MOST_OPTIONS: u8 = 0x4f;

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

/// Checks the headers of a frame of `frame_length` bytes that says it is IPv4.
///
/// # Errors
/// The verdict for a packet that is not forwarded.
#[inline(always)]
pub fn classify(headers: &[u8; HEADER_BYTES], frame_length: usize) -> Result<Packet, Verdict> {
    // The array is as long as both; this is how they are told apart.
    let truncated = |_| Verdict::Drop(Reason::Truncated);
    let (_, rest) = ethernet::Header::split(headers).map_err(truncated)?;
    let (ip, _) = ipv4::Header::split(rest).map_err(truncated)?;
    match ip.version_and_length() {
        ipv4::PLAIN => {}
        LEAST_OPTIONS..=MOST_OPTIONS => return Err(Verdict::kernel(Reason::Options)),
        _ => return Err(Verdict::Drop(Reason::BadHeader)),
    }
    if !ip.has_right_checksum() {
        return Err(Verdict::Drop(Reason::BadChecksum));
    }
    let total_length = ip.total_length();
    if usize::from(total_length) < ipv4::BYTES {
        return Err(Verdict::Drop(Reason::BadHeader));
    }
    if ethernet::BYTES + usize::from(total_length) > frame_length {
        return Err(Verdict::Drop(Reason::Truncated));
    }
    let (source, destination) = (ip.source().to_bits(), ip.destination().to_bits());
    addresses(source, destination)?;
    if ip.ttl() <= 1 {
        return Err(Verdict::kernel(Reason::TtlExceeded));
    }
    let (protocol, fragment) = (ip.protocol(), ip.is_fragment());
    Ok(Packet { source, destination, protocol, total_length, fragment })
}

#[inline(always)]
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
