//! Packet headers: Ethernet, VLAN, IPv4, IPv6, UDP, TCP, ICMP.
//!
//! Everybody who looks into a packet looks through this crate: extensions in WebAssembly, the adapter,
//! the applications' filters, tests. One file a header, and in each the same three things:
//!
//! - `BYTES`, the length of the header without options, and `offset`, where its fields are: for filters
//!   and masks, which are made of places rather than of values.
//! - `Header`, its bytes with names. They are an array, so that the length is checked once, where the
//!   array is made, and reading a field can neither fail nor panic; numbers come in host order. The bytes
//!   are lent (`&[u8; BYTES]`), lent to be changed (`&mut`), or its own.
//! - `Fields`, what a sender has to say; the rest of the header, lengths and checksums, follows from it.
//!
//! Where a header alone does not say where the next one starts, there is a reader that checks lengths
//! against the bytes there are: [`ipv4::Packet`], [`ipv6::Packet`], [`udp::Datagram`], [`tcp::Segment`],
//! [`icmp::Message`], [`vlan::untag`].
//!
//! Left out: what to do about a packet. A reader says that lengths contradict each other; that a router
//! drops what comes from 127/8 is the router's knowledge.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod checksum;
pub mod ethernet;
mod field;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod ports;
pub mod protocol;
pub mod tcp;
pub mod udp;
pub mod vlan;

/// Why bytes are not the header that was looked for. The sender is at fault, or who cut the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The bytes end before what the header says there is. Read more of the packet, if there is more.
    Truncated,
    /// A field is not what the standard allows, or contradicts another one. Throw the packet away.
    Malformed,
}

impl core::fmt::Display for Error {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(match self {
            Self::Truncated => "the packet ends before its headers say: read more of it",
            Self::Malformed => "the packet's headers contradict themselves: throw it away",
        })
    }
}

impl core::error::Error for Error {}

/// A length or a place in 16 bits, as packets say it. In a constant, one that does not fit does not compile.
///
/// # Panics
/// It does not fit.
#[inline(always)]
pub const fn in_u16(bytes: usize) -> u16 {
    assert!(bytes <= 0xffff, "what 16 bits can say");
    let [low, high, ..] = bytes.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// The same in 8 bits, as masks and requests say it.
///
/// # Panics
/// It does not fit.
#[inline(always)]
pub const fn in_u8(bytes: usize) -> u8 {
    assert!(bytes <= 0xff, "what 8 bits can say");
    let [low, ..] = bytes.to_le_bytes();
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_the_same_in_fewer_bits() {
        assert_eq!([in_u16(0), in_u16(0x1234), in_u16(0xffff)], [0, 0x1234, 0xffff]);
        assert_eq!([in_u8(0), in_u8(0x12), in_u8(0xff)], [0, 0x12, 0xff]);
    }

    #[test]
    #[should_panic(expected = "what 8 bits can say")]
    fn what_does_not_fit_is_no_smaller_number() {
        in_u8(0x100);
    }
}
