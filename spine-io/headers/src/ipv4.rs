//! IPv4 (RFC 791).
//!
//! Left out: what options say. Where they are is told, since nobody finds the next header without.

use core::borrow::{Borrow, BorrowMut};
use core::net::Ipv4Addr;

use crate::field::{get, header, set};
use crate::{Error, checksum, in_u16};

/// Bytes of the header without options.
pub const BYTES: usize = 20;
/// Bytes of the header with as many options as there may be.
pub const MOST_BYTES: usize = 60;
/// The first byte of a header without options: version 4, five words of 32 bits.
pub const PLAIN: u8 = 0x45;

/// The bit that forbids to cut a packet, in the 16 bits at [`offset::FRAGMENT`].
pub const KEEP_WHOLE: u16 = 0x4000;
/// The bit that says that more of the packet follows in others.
pub const MORE_FRAGMENTS: u16 = 0x2000;
/// The bits of the place in the whole packet, in units of 8 bytes.
pub const FRAGMENT_PLACE: u16 = 0x1fff;
/// What is zero in a whole packet.
pub const IS_FRAGMENT: u16 = MORE_FRAGMENTS | FRAGMENT_PLACE;

/// Where the fields are.
pub mod offset {
    /// Version (high 4 bits) and words of the header (low 4 bits), 1 byte.
    pub const VERSION: usize = 0;
    /// Differentiated services and congestion, 1 byte.
    pub const TRAFFIC_CLASS: usize = 1;
    /// Bytes of the packet, 2 bytes.
    pub const TOTAL_LENGTH: usize = 2;
    /// What a packet's fragments have in common, 2 bytes.
    pub const IDENTIFICATION: usize = 4;
    /// Three bits, and the fragment's place, 2 bytes.
    pub const FRAGMENT: usize = 6;
    /// Hops it may still take, 1 byte.
    pub const TTL: usize = 8;
    /// What follows, 1 byte.
    pub const PROTOCOL: usize = 9;
    /// Of the header, 2 bytes.
    pub const CHECKSUM: usize = 10;
    /// The address it comes from, 4 bytes.
    pub const SOURCE: usize = 12;
    /// The address it is sent to, 4 bytes.
    pub const DESTINATION: usize = 16;
}

header! {
    /// An IPv4 header without its options.
    BYTES
}

impl<B: Borrow<[u8; BYTES]>> Header<B> {
    /// Version and length in one: [`PLAIN`] for nearly every packet.
    #[inline(always)]
    pub fn version_and_length(&self) -> u8 {
        let [byte] = get::<{ offset::VERSION }, _, _>(self.bytes());
        byte
    }

    /// The version: 4.
    #[inline(always)]
    pub fn version(&self) -> u8 {
        self.version_and_length() >> 4
    }

    /// Bytes of the header with options, as it says: 0 to 60, and not below 20 in a sound one.
    #[inline(always)]
    pub fn header_length(&self) -> usize {
        4 * usize::from(self.version_and_length() & 15)
    }

    /// Bytes of the packet, as it says. Zero in what is larger than can be said (Linux's "BIG TCP").
    #[inline(always)]
    pub fn total_length(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::TOTAL_LENGTH }, _, _>(self.bytes()))
    }

    /// What its fragments have in common.
    #[inline(always)]
    pub fn identification(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::IDENTIFICATION }, _, _>(self.bytes()))
    }

    /// Whether it is not the whole packet.
    #[inline(always)]
    pub fn is_fragment(&self) -> bool {
        self.fragment() & IS_FRAGMENT != 0
    }

    /// Whether it is a part of a packet other than the first: no transport header follows.
    #[inline(always)]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment() & FRAGMENT_PLACE != 0
    }

    /// Whether nobody may cut it.
    #[inline(always)]
    pub fn keep_whole(&self) -> bool {
        self.fragment() & KEEP_WHOLE != 0
    }

    /// Hops it may still take.
    #[inline(always)]
    pub fn ttl(&self) -> u8 {
        let [byte] = get::<{ offset::TTL }, _, _>(self.bytes());
        byte
    }

    /// What follows: one of [`protocol`](crate::protocol), or another one.
    #[inline(always)]
    pub fn protocol(&self) -> u8 {
        let [byte] = get::<{ offset::PROTOCOL }, _, _>(self.bytes());
        byte
    }

    /// The header's checksum.
    #[inline(always)]
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::CHECKSUM }, _, _>(self.bytes()))
    }

    /// Whether the checksum of a header without options is right.
    #[inline(always)]
    pub fn has_right_checksum(&self) -> bool {
        // Whether all bits of the sum are ones does not depend on the order of bytes (RFC 1071 2(B)), and
        // this one costs no swaps on the machines there are.
        let (words, _) = self.bytes().as_chunks::<4>();
        checksum::holds(words.iter().map(|word| u64::from(u32::from_le_bytes(*word))).sum())
    }

    /// The address it comes from.
    #[inline(always)]
    pub fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::from_be_bytes(get::<{ offset::SOURCE }, _, _>(self.bytes())))
    }

    /// The address it is sent to.
    #[inline(always)]
    pub fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::from_be_bytes(get::<{ offset::DESTINATION }, _, _>(self.bytes())))
    }

    #[inline(always)]
    fn fragment(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::FRAGMENT }, _, _>(self.bytes()))
    }
}

impl<B: BorrowMut<[u8; BYTES]>> Header<B> {
    /// Has the packet be so long. The checksum is not right then.
    #[inline(always)]
    pub fn set_total_length(&mut self, length: u16) {
        set::<{ offset::TOTAL_LENGTH }, _, _>(self.0.borrow_mut(), length.to_be_bytes());
    }

    /// Gives it another identification. The checksum is not right then.
    #[inline(always)]
    pub fn set_identification(&mut self, identification: u16) {
        set::<{ offset::IDENTIFICATION }, _, _>(self.0.borrow_mut(), identification.to_be_bytes());
    }

    /// Replaces the checksum.
    #[inline(always)]
    pub fn set_checksum(&mut self, checksum: u16) {
        set::<{ offset::CHECKSUM }, _, _>(self.0.borrow_mut(), checksum.to_be_bytes());
    }

    /// Takes one from the TTL, which is not zero, and corrects the checksum.
    #[inline(always)]
    pub fn take_hop(&mut self) {
        let ttl = self.ttl().wrapping_sub(1);
        let checksum = one_hop_less(u16::from_le_bytes(self.checksum().to_be_bytes()));
        let bytes = self.0.borrow_mut();
        set::<{ offset::TTL }, _, _>(bytes, [ttl]);
        set::<{ offset::CHECKSUM }, _, _>(bytes, checksum.to_le_bytes());
    }
}

/// The header checksum after the TTL has gone down by one (RFC 1141, RFC 1624).
///
/// The checksum, read as little-endian, is the complement of a sum in which the TTL counts single units;
/// so it goes up by one, and a carry comes back in at the bottom. 0xffff is the other zero of one's
/// complement arithmetic, which no complete computation gives: it is written as 0, as Linux does.
#[inline(always)]
const fn one_hop_less(checksum: u16) -> u16 {
    let sum = checksum as u32 + 1;
    // Without a branch: a carry, or the other zero, and both make one more.
    ((sum + (sum >= 0xffff) as u32) & 0xffff) as u16
}

/// A packet whose lengths agree with each other and with the bytes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The header.
    pub header: Header<&'a [u8; BYTES]>,
    /// Its options; empty in nearly every packet.
    pub options: &'a [u8],
    /// What follows, without what padded the frame.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a packet. Its checksum is not looked at.
    ///
    /// # Errors
    /// [`Error::Truncated`] if `bytes` are fewer than it says, [`Error::Malformed`] for another version
    /// and for lengths that contradict each other.
    #[inline]
    pub fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, _) = Header::split(bytes)?;
        let total = usize::from(header.total_length());
        let length = header.header_length();
        if header.version() != 4 || length < BYTES || total < length {
            return Err(Error::Malformed);
        }
        let whole = bytes.get(..total).ok_or(Error::Truncated)?;
        let (front, payload) = whole.split_at_checked(length).ok_or(Error::Malformed)?;
        let options = front.get(BYTES..).unwrap_or(&[]);
        Ok(Self { header, options, payload })
    }

    /// Whether its checksum is right.
    #[inline]
    pub fn has_right_checksum(&self) -> bool {
        checksum::holds(checksum::sum(self.header.bytes()) + checksum::sum(self.options))
    }

    /// The sum of the pseudo-header for what follows.
    #[inline]
    pub fn pseudo_sum(&self) -> u64 {
        // At most what the header's 16 bits can say.
        let length = u16::try_from(self.payload.len()).unwrap_or(u16::MAX);
        let header = &self.header;
        checksum::pseudo_ipv4(header.source(), header.destination(), header.protocol(), length)
    }
}

/// What a sender says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// The address it comes from.
    pub source: Ipv4Addr,
    /// The address it is sent to.
    pub destination: Ipv4Addr,
    /// What follows.
    pub protocol: u8,
    /// Bytes of what follows, at most 65515.
    pub payload: u16,
    /// Hops it may take.
    pub ttl: u8,
    /// What its fragments would have in common.
    pub identification: u16,
    /// Whether nobody may cut it.
    pub keep_whole: bool,
}

impl Fields {
    /// The TTL that most senders use (IANA's recommendation).
    pub const TTL: u8 = 64;

    /// A packet that nobody may cut, with the usual TTL.
    #[inline]
    pub const fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: u16) -> Self {
        let (ttl, identification, keep_whole) = (Self::TTL, 0, true);
        Self { source, destination, protocol, payload, ttl, identification, keep_whole }
    }

    /// The header, without options and with its checksum.
    #[inline]
    pub fn to_bytes(&self) -> [u8; BYTES] {
        const HEADER: u16 = in_u16(BYTES);
        let fragment = if self.keep_whole { KEEP_WHOLE } else { 0 };
        let mut bytes = [0; BYTES];
        set::<{ offset::VERSION }, _, _>(&mut bytes, [PLAIN]);
        set::<{ offset::FRAGMENT }, _, _>(&mut bytes, fragment.to_be_bytes());
        set::<{ offset::TTL }, _, _>(&mut bytes, [self.ttl]);
        set::<{ offset::PROTOCOL }, _, _>(&mut bytes, [self.protocol]);
        set::<{ offset::SOURCE }, _, _>(&mut bytes, self.source.octets());
        set::<{ offset::DESTINATION }, _, _>(&mut bytes, self.destination.octets());
        let mut header = Header::new(&mut bytes);
        header.set_total_length(self.payload.saturating_add(HEADER));
        header.set_identification(self.identification);
        header.set_checksum(checksum::finish(checksum::sum(header.bytes())));
        bytes
    }

    /// The sum of the pseudo-header for what follows.
    #[inline]
    pub const fn pseudo_sum(&self) -> u64 {
        checksum::pseudo_ipv4(self.source, self.destination, self.protocol, self.payload)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;
    use crate::protocol;

    /// The example everybody computes: 192.168.0.1 to 192.168.0.199, UDP, checksum 0xb861.
    const KNOWN: [u8; BYTES] = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 192, 168, 0, 1,
        192, 168, 0, 199,
    ];

    fn known() -> Fields {
        let (from, to) = (Ipv4Addr::new(192, 168, 0, 1), Ipv4Addr::new(192, 168, 0, 199));
        Fields::new(from, to, protocol::UDP, 0x73 - 20)
    }

    #[test]
    fn a_known_header_is_written_byte_by_byte() {
        assert_eq!(known().to_bytes(), KNOWN);
    }

    #[test]
    fn a_known_header_is_read_field_by_field() {
        let header = Header::new(&KNOWN);
        assert_eq!((header.version(), header.header_length()), (4, 20));
        assert_eq!((header.total_length(), header.identification()), (0x73, 0));
        assert_eq!((header.ttl(), header.protocol()), (64, protocol::UDP));
        assert_eq!((header.source(), header.destination()), (known().source, known().destination));
        assert_eq!(header.checksum(), 0xb861);
        assert!(header.has_right_checksum() && header.keep_whole());
        assert!(!header.is_fragment() && !header.is_later_fragment());
    }

    #[test]
    fn fragments_are_told_apart() {
        let with = |high, low| {
            let mut bytes = KNOWN;
            bytes[offset::FRAGMENT..][..2].copy_from_slice(&[high, low]);
            Header::new(bytes)
        };
        for (name, header, is_fragment, is_later) in [
            ("whole", with(0, 0), false, false),
            ("whole, with the reserved bit", with(0xc0, 0), false, false),
            ("first", with(0x20, 0), true, false),
            ("middle", with(0x20, 9), true, true),
            ("last", with(0, 1), true, true),
        ] {
            assert_eq!(header.is_fragment(), is_fragment, "{name}");
            assert_eq!(header.is_later_fragment(), is_later, "{name}");
        }
    }

    #[test]
    fn a_packet_is_read_up_to_where_it_ends() {
        let fields = Fields { payload: 3, ..known() };
        let frame = [&fields.to_bytes()[..], b"abc", &[0xee; 9]].concat();
        let packet = Packet::read(&frame).expect("sound");
        assert_eq!((packet.options, packet.payload), (&[][..], &b"abc"[..]));
        assert!(packet.has_right_checksum());
        assert_eq!(packet.pseudo_sum(), fields.pseudo_sum());
    }

    #[test]
    fn options_are_found_and_summed() {
        let mut frame = [&known().to_bytes()[..], &[0x94, 4, 0, 0], b"data"].concat();
        frame[0] = 0x46;
        frame[2..4].copy_from_slice(&[0, 28]);
        frame[10..12].fill(0);
        let checksum = checksum::finish(checksum::sum(&frame[..24])).to_be_bytes();
        frame[10..12].copy_from_slice(&checksum);
        let packet = Packet::read(&frame).expect("sound");
        assert_eq!((packet.options, packet.payload), (&[0x94, 4, 0, 0][..], &b"data"[..]));
        assert!(packet.has_right_checksum() && !packet.header.has_right_checksum());
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        let with = |at: usize, byte| {
            let mut packet = [&Fields { payload: 4, ..known() }.to_bytes()[..], b"data"].concat();
            packet[at] = byte;
            packet
        };
        for (name, packet, expected) in [
            ("version 6", with(0, 0x65), Error::Malformed),
            ("header of 16 bytes", with(0, 0x44), Error::Malformed),
            ("header longer than the packet", with(0, 0x4f), Error::Malformed),
            ("shorter than its header", with(3, 19), Error::Malformed),
            ("longer than what there is", with(3, 25), Error::Truncated),
            ("no whole header", KNOWN[..19].to_vec(), Error::Truncated),
        ] {
            assert_eq!(Packet::read(&packet), Err(expected), "{name}");
        }
    }

    /// What Linux's `ip_decrease_ttl` computes, written down for big-endian words.
    fn linux(check: u16) -> u16 {
        let sum = u32::from(check) + 0x0100;
        ((sum + u32::from(sum >= 0xffff)) & 0xffff) as u16
    }

    #[test]
    fn the_checksum_after_a_hop_is_linuxs_for_every_checksum() {
        for check in 0..=u16::MAX {
            let mut header = Header::new(KNOWN);
            header.set_checksum(check);
            header.take_hop();
            assert_eq!((header.checksum(), header.ttl()), (linux(check), 63), "{check:#06x}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            from: [u8; 4], to: [u8; 4], protocol: u8, payload in 0u16..200, ttl: u8,
            identification: u16, keep_whole: bool,
        ) {
            let (source, destination) = (from.into(), to.into());
            let fields =
                Fields { source, destination, protocol, payload, ttl, identification, keep_whole };
            let bytes = [&fields.to_bytes()[..], &[7; 200]].concat();
            let packet = Packet::read(&bytes).expect("sound");
            let header = packet.header;
            let read = Fields {
                source: header.source(),
                destination: header.destination(),
                protocol: header.protocol(),
                payload: u16::try_from(packet.payload.len()).expect("short"),
                ttl: header.ttl(),
                identification: header.identification(),
                keep_whole: header.keep_whole(),
            };
            prop_assert_eq!(read, fields);
            prop_assert!(header.has_right_checksum() && packet.has_right_checksum());
        }

        #[test]
        fn a_hop_keeps_the_checksum_right(from: [u8; 4], to: [u8; 4], ttl in 1u8.., id: u16) {
            let fields = Fields { identification: id, ttl, ..known() };
            let fields = Fields { source: from.into(), destination: to.into(), ..fields };
            let mut header = Header::new(fields.to_bytes());
            header.take_hop();
            prop_assert_eq!(*header.bytes(), Fields { ttl: ttl - 1, ..fields }.to_bytes());
        }

        #[test]
        fn any_bytes_are_answered_and_no_payload_is_longer_than_them(
            bytes in prop::collection::vec(any::<u8>(), 0..100), plain: bool,
        ) {
            let mut bytes: Vec<u8> = bytes;
            if plain && bytes.len() > 4 {
                bytes[0] = PLAIN;
                bytes[2] = 0;
            }
            if let Ok(packet) = Packet::read(&bytes) {
                let all = BYTES + packet.options.len() + packet.payload.len();
                prop_assert_eq!(all, usize::from(packet.header.total_length()));
                prop_assert!(all <= bytes.len());
            }
        }
    }
}
