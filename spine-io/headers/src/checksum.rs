//! The Internet checksum (RFC 1071), and how to change one (RFC 1624).
//!
//! A checksum is the complement of a one's complement sum of 16-bit words. Sums here may be unfolded: 64
//! bits in which words of 16 or 32 bits are added without losing a carry, so that sums of parts add up
//! with `+` and are folded once. Words are big-endian, as they are on the wire.
//!
//! Left out: which bytes a checksum covers, which each header says for itself.

use core::net::{Ipv4Addr, Ipv6Addr};

/// The sum of bytes; an odd last byte counts as if a zero followed. Parts whose sums are added start at even places
/// of the whole.
#[inline]
pub fn sum(bytes: &[u8]) -> u64 {
    // Words of 32 bits fold to the same sum as their halves, and words with their bytes exchanged to that sum with its
    // own exchanged (RFC 1071 2(B)): so they are added as most machines have them, and turned round once. 2^32 of them fit.
    let (words, rest) = bytes.as_chunks::<4>();
    let whole: u64 = words.iter().map(|word| u64::from(u32::from_le_bytes(*word))).sum();
    let mut last = [0; 4];
    for (place, byte) in last.iter_mut().zip(rest) {
        *place = *byte;
    }
    u64::from(fold(whole + u64::from(u32::from_le_bytes(last))).swap_bytes())
}

/// [`sum`] of so many bytes that every one of them is an instruction.
#[inline(always)]
pub fn sum_of<const N: usize>(bytes: &[u8; N]) -> u64 {
    const { assert!(N.is_multiple_of(4), "whole words") };
    let (words, _) = bytes.as_chunks::<4>();
    let whole: u64 = words.iter().map(|word| u64::from(u32::from_le_bytes(*word))).sum();
    u64::from(fold(whole).swap_bytes())
}

/// A sum in 16 bits, with the carries added back in. Only a sum of nothing but zeroes is zero.
#[inline]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum & 0xffff) as u16
}

/// The checksum of what has this sum, with zero in the place of the checksum itself.
///
/// Whoever receives it adds all up, the checksum included, and finds 0xffff ([`holds`]).
#[inline]
pub const fn finish(sum: u64) -> u16 {
    !fold(sum)
}

/// The same for UDP, whose zero says "no checksum": a computed zero is sent as its other form, all ones
/// (RFC 768). Other protocols may send that, too: the two are one number in one's complement.
#[inline]
pub const fn finish_nonzero(sum: u64) -> u16 {
    match finish(sum) {
        0 => 0xffff,
        checksum => checksum,
    }
}

/// Whether what has this sum, its checksum included, is as its sender had it.
#[inline]
pub const fn holds(sum: u64) -> bool {
    fold(sum) == 0xffff
}

/// The sum of IPv4's pseudo-header (RFC 768, RFC 9293 3.1): `length` bytes from the transport header on.
#[inline]
pub const fn pseudo_ipv4(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    length: u16,
) -> u64 {
    source.to_bits() as u64 + destination.to_bits() as u64 + protocol as u64 + length as u64
}

/// The sum of IPv6's pseudo-header (RFC 8200 8.1): `length` bytes from the transport header on, and the
/// protocol behind all extension headers.
#[inline]
pub fn pseudo_ipv6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, length: u32) -> u64 {
    sum(&source.octets()) + sum(&destination.octets()) + u64::from(protocol) + u64::from(length)
}

/// A checksum after some of what it covers has changed, from the sums of the old and of the new bytes
/// (RFC 1624, equation 3). They are at the same, even place.
#[inline]
pub const fn update(checksum: u16, old: u64, new: u64) -> u16 {
    !fold(!checksum as u64 + !fold(old) as u64 + fold(new) as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;

    /// Word by word, as the textbook has it.
    fn textbook(bytes: &[u8]) -> u16 {
        let mut sum: u32 = 0;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
            while sum > 0xffff {
                sum = (sum & 0xffff) + (sum >> 16);
            }
        }
        u16::try_from(sum).expect("folded")
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes)), 0xddf2);
        assert_eq!(finish(sum(&bytes)), 0x220d);
    }

    #[test]
    fn the_example_of_rfc_1624() {
        // Section 4: a word changes from 0x5555 to 0x3285; equation 2 of RFC 1141 went wrong here.
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn the_extremes_fold() {
        assert_eq!([fold(0), fold(0xffff), fold(0x1_0000), fold(u64::MAX)], [0, 0xffff, 1, 0xffff]);
        assert_eq!(finish_nonzero(0xffff), 0xffff);
        assert_eq!(finish_nonzero(0x1234), finish(0x1234));
    }

    #[test]
    fn a_dns_query_sums_up_with_its_pseudo_header() {
        // From 10.0.0.1 to 10.0.0.2: ports 5353 and 53, 12 bytes, the payload "spin".
        let udp = [0x14, 0xe9, 0x00, 0x35, 0x00, 0x0c, 0x00, 0x00, b's', b'p', b'i', b'n'];
        let (from, to) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        // 1400 + 3 + 11 + 0c, 14e9 + 35 + 0c, 7370 + 696e.
        assert_eq!(fold(pseudo_ipv4(from, to, 17, 12) + sum(&udp)), 0x0629);
    }

    proptest! {
        #[test]
        fn any_bytes_sum_as_the_textbook_has_it(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            prop_assert_eq!(fold(sum(&bytes)), textbook(&bytes));
            if let Some(some) = bytes.first_chunk::<40>() {
                prop_assert_eq!(sum_of(some), sum(some));
            }
        }

        #[test]
        fn parts_add_up_to_the_whole(
            bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..100,
        ) {
            let (first, rest) = bytes.split_at((2 * at).min(bytes.len()));
            prop_assert_eq!(fold(sum(first) + sum(rest)), fold(sum(&bytes)));
        }

        #[test]
        fn what_is_finished_holds_and_a_flipped_bit_does_not(
            mut bytes in prop::collection::vec(any::<u8>(), 2..100), bit in 0usize..800,
        ) {
            bytes[..2].fill(0);
            let checksum = finish(sum(&bytes));
            bytes[..2].copy_from_slice(&checksum.to_be_bytes());
            prop_assert!(holds(sum(&bytes)));
            let at = bit / 8 % bytes.len();
            bytes[at] ^= 1 << (bit % 8);
            prop_assert!(!holds(sum(&bytes)));
        }

        #[test]
        fn an_updated_checksum_is_the_recomputed_one(
            bytes in prop::collection::vec(any::<u8>(), 16..60), new: [u8; 4], at in 0usize..6,
        ) {
            let at = 2 * at;
            let mut changed = bytes.clone();
            changed[at..at + 4].copy_from_slice(&new);
            let updated = update(finish(sum(&bytes)), sum(&bytes[at..at + 4]), sum(&new));
            let whole: Vec<u8> = changed;
            // Equal as one's complement numbers: the two zeroes are one.
            prop_assert_eq!(updated % 0xffff, finish(sum(&whole)) % 0xffff);
        }

        #[test]
        fn pseudo_headers_are_sums_of_what_they_stand_for(
            from: [u8; 4], to: [u8; 4], protocol: u8, length: u16,
        ) {
            let [high, low] = length.to_be_bytes();
            let rest = [0, protocol, high, low];
            let whole = [&from[..], &to, &rest].concat();
            let pseudo = pseudo_ipv4(from.into(), to.into(), protocol, length);
            prop_assert_eq!(fold(pseudo), textbook(&whole));
        }

        #[test]
        fn pseudo_headers_of_ipv6_too(
            from: [u8; 16], to: [u8; 16], protocol: u8, length: u32,
        ) {
            let rest = [0, 0, 0, protocol];
            let whole = [&from[..], &to, &length.to_be_bytes(), &rest].concat();
            let pseudo = pseudo_ipv6(from.into(), to.into(), protocol, length);
            prop_assert_eq!(fold(pseudo), textbook(&whole));
        }
    }
}
