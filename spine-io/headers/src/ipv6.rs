//! IPv6 (RFC 8200), and the way through its extension headers to what is behind them.
//!
//! Left out: what extension headers say, but for the fragment header, without which nobody knows whether
//! a transport header follows at all.

use core::borrow::{Borrow, BorrowMut};
use core::net::Ipv6Addr;

use crate::field::{get, header, set};
use crate::{Error, checksum};

/// Bytes of the header without extension headers.
pub const BYTES: usize = 40;
/// Extension headers of one packet that are walked. The standard knows seven, once each but for one.
pub const MOST_EXTENSIONS: usize = 8;

/// Where the fields are.
pub mod offset {
    /// Version (4 bits), traffic class (8) and flow label (20), 4 bytes.
    pub const VERSION: usize = 0;
    /// Bytes behind this header, 2 bytes.
    pub const PAYLOAD_LENGTH: usize = 4;
    /// What follows, 1 byte.
    pub const NEXT_HEADER: usize = 6;
    /// Hops it may still take, 1 byte.
    pub const HOP_LIMIT: usize = 7;
    /// The address it comes from, 16 bytes.
    pub const SOURCE: usize = 8;
    /// The address it is sent to, 16 bytes.
    pub const DESTINATION: usize = 24;
}

/// The extension headers, by number (IANA, "IPv6 Extension Header Types").
pub mod extension {
    /// Options for every hop.
    pub const HOP_BY_HOP: u8 = 0;
    /// The way it is to take.
    pub const ROUTING: u8 = 43;
    /// It is a part of a packet.
    pub const FRAGMENT: u8 = 44;
    /// Who signed it (RFC 4302).
    pub const AUTHENTICATION: u8 = 51;
    /// Nothing follows.
    pub const NONE: u8 = 59;
    /// Options for the destination.
    pub const DESTINATION: u8 = 60;
    /// Mobile nodes (RFC 6275).
    pub const MOBILITY: u8 = 135;
    /// Host identities (RFC 7401).
    pub const HOST_IDENTITY: u8 = 139;
    /// Several ways to a host (RFC 5533).
    pub const SHIM6: u8 = 140;
}

header! {
    /// An IPv6 header without extension headers.
    BYTES
}

impl<B: Borrow<[u8; BYTES]>> Header<B> {
    /// The version: 6.
    #[inline(always)]
    pub fn version(&self) -> u8 {
        self.first_word().to_be_bytes()[0] >> 4
    }

    /// Differentiated services and congestion.
    #[inline(always)]
    pub fn traffic_class(&self) -> u8 {
        (self.first_word() >> 20 & 0xff) as u8
    }

    /// What its sender numbers flows with, 20 bits; zero if it does not.
    #[inline(always)]
    pub fn flow_label(&self) -> u32 {
        self.first_word() & 0x000f_ffff
    }

    /// Bytes behind this header, as it says. Zero in what is larger than can be said (RFC 2675).
    #[inline(always)]
    pub fn payload_length(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::PAYLOAD_LENGTH }, _, _>(self.bytes()))
    }

    /// What follows: one of [`extension`] or of [`protocol`](crate::protocol), or another one.
    #[inline(always)]
    pub fn next_header(&self) -> u8 {
        let [byte] = get::<{ offset::NEXT_HEADER }, _, _>(self.bytes());
        byte
    }

    /// Hops it may still take.
    #[inline(always)]
    pub fn hop_limit(&self) -> u8 {
        let [byte] = get::<{ offset::HOP_LIMIT }, _, _>(self.bytes());
        byte
    }

    /// The address it comes from.
    #[inline(always)]
    pub fn source(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(u128::from_be_bytes(get::<{ offset::SOURCE }, _, _>(self.bytes())))
    }

    /// The address it is sent to.
    #[inline(always)]
    pub fn destination(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(u128::from_be_bytes(get::<{ offset::DESTINATION }, _, _>(self.bytes())))
    }

    /// Both addresses as they stand there, the source's first: for who does not compute with them.
    #[inline(always)]
    pub fn addresses(&self) -> &[u8; 32] {
        let bytes = self.bytes().last_chunk();
        const { assert!(offset::SOURCE + 32 == BYTES, "they are the header's end") };
        bytes.expect("the header is longer")
    }

    #[inline(always)]
    fn first_word(&self) -> u32 {
        u32::from_be_bytes(get::<{ offset::VERSION }, _, _>(self.bytes()))
    }
}

impl<B: BorrowMut<[u8; BYTES]>> Header<B> {
    /// Takes one from the hop limit, which is not zero. There is no checksum to correct.
    #[inline(always)]
    pub fn take_hop(&mut self) {
        let left = self.hop_limit().wrapping_sub(1);
        set::<{ offset::HOP_LIMIT }, _, _>(self.0.borrow_mut(), [left]);
    }
}

/// What the fragment header says (RFC 8200 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Its place in the whole packet, in bytes.
    pub place: u16,
    /// Whether others follow it.
    pub more: bool,
    /// What the fragments of one packet have in common.
    pub identification: u32,
}

impl Fragment {
    fn read(bytes: &[u8; 8]) -> Self {
        let place = u16::from_be_bytes(get::<2, _, _>(bytes));
        let identification = u32::from_be_bytes(get::<4, _, _>(bytes));
        Self { place: place & 0xfff8, more: place & 1 != 0, identification }
    }
}

/// What is behind the extension headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upper {
    /// What it is: one of [`protocol`](crate::protocol), or another one; [`extension::NONE`].
    pub protocol: u8,
    /// Where it starts, in bytes behind the fixed header.
    pub start: usize,
    /// Whether it is a part of a packet. Where that is not the first part, what starts there is no header.
    pub fragment: Option<Fragment>,
}

/// Walks the extension headers: `kind` is what the fixed header says follows, `bytes` are what follows
/// it, as far as they are seen.
///
/// Encrypted payload ([`ESP`](crate::protocol::ESP)) is what is behind the headers: nobody sees further.
///
/// # Errors
/// [`Error::Truncated`] where they go on behind `bytes`, [`Error::Malformed`] for more than
/// [`MOST_EXTENSIONS`].
#[inline]
pub fn upper(mut kind: u8, bytes: &[u8]) -> Result<Upper, Error> {
    let (mut start, mut fragment) = (0, None);
    for _ in 0..=MOST_EXTENSIONS {
        let is_later = fragment.is_some_and(|fragment: Fragment| fragment.place > 0);
        if is_later || !is_extension(kind) {
            return Ok(Upper { protocol: kind, start, fragment });
        }
        // All of them start with what follows and their length, in words that differ, and have 8 bytes.
        let rest = bytes.get(start..).ok_or(Error::Truncated)?;
        let first: &[u8; 8] = rest.first_chunk().ok_or(Error::Truncated)?;
        let [next, words, ..] = *first;
        start += match kind {
            extension::FRAGMENT => {
                fragment = Some(Fragment::read(first));
                8
            }
            extension::AUTHENTICATION => 4 * (usize::from(words) + 2),
            _ => 8 * (usize::from(words) + 1),
        };
        kind = next;
    }
    Err(Error::Malformed)
}

/// Whether this is an extension header that has another one, or the transport header, behind it.
#[inline]
pub const fn is_extension(kind: u8) -> bool {
    matches!(
        kind,
        extension::HOP_BY_HOP
            | extension::ROUTING
            | extension::FRAGMENT
            | extension::AUTHENTICATION
            | extension::DESTINATION
            | extension::MOBILITY
            | extension::HOST_IDENTITY
            | extension::SHIM6
    )
}

/// A packet whose lengths agree with each other and with the bytes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The header.
    pub header: Header<&'a [u8; BYTES]>,
    /// What is behind the extension headers.
    pub upper: Upper,
    /// Its bytes, without what padded the frame.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a packet.
    ///
    /// # Errors
    /// [`Error::Truncated`] if `bytes` are fewer than it says, [`Error::Malformed`] for another version
    /// and for extension headers longer than the packet.
    #[inline]
    pub fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, rest) = Header::split(bytes)?;
        if header.version() != 6 {
            return Err(Error::Malformed);
        }
        let all = rest.get(..header.payload_length().into()).ok_or(Error::Truncated)?;
        // All there is of the packet is here: what is not, is not there at all.
        let upper = upper(header.next_header(), all).map_err(|_| Error::Malformed)?;
        let payload = all.get(upper.start..).ok_or(Error::Malformed)?;
        Ok(Self { header, upper, payload })
    }

    /// The sum of the pseudo-header for what is behind the extension headers.
    #[inline]
    pub fn pseudo_sum(&self) -> u64 {
        // At most what the header's 16 bits can say.
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        let header = &self.header;
        let (source, destination) = (header.source(), header.destination());
        checksum::pseudo_ipv6(source, destination, self.upper.protocol, length)
    }
}

/// What a sender says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// The address it comes from.
    pub source: Ipv6Addr,
    /// The address it is sent to.
    pub destination: Ipv6Addr,
    /// What follows.
    pub next_header: u8,
    /// Bytes of what follows, extension headers among them.
    pub payload: u16,
    /// Hops it may take.
    pub hop_limit: u8,
}

impl Fields {
    /// The header.
    #[inline]
    pub fn to_bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        set::<{ offset::VERSION }, _, _>(&mut bytes, [0x60]);
        set::<{ offset::PAYLOAD_LENGTH }, _, _>(&mut bytes, self.payload.to_be_bytes());
        set::<{ offset::NEXT_HEADER }, _, _>(&mut bytes, [self.next_header]);
        set::<{ offset::HOP_LIMIT }, _, _>(&mut bytes, [self.hop_limit]);
        set::<{ offset::SOURCE }, _, _>(&mut bytes, self.source.octets());
        set::<{ offset::DESTINATION }, _, _>(&mut bytes, self.destination.octets());
        bytes
    }

    /// The sum of the pseudo-header for what follows, if no extension header does.
    #[inline]
    pub fn pseudo_sum(&self) -> u64 {
        let length = self.payload.into();
        checksum::pseudo_ipv6(self.source, self.destination, self.next_header, length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::vec::Vec;

    use super::*;
    use crate::protocol;

    fn fields(next_header: u8, payload: usize) -> Fields {
        Fields {
            source: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
            destination: Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 2),
            next_header,
            payload: u16::try_from(payload).expect("short"),
            hop_limit: 64,
        }
    }

    fn packet(next_header: u8, payload: &[u8]) -> Vec<u8> {
        [&fields(next_header, payload.len()).to_bytes()[..], payload].concat()
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = [packet(protocol::UDP, b"12345678"), std::vec![0xee; 9]].concat();
        let read = Packet::read(&bytes).expect("sound");
        let header = read.header;
        assert_eq!((header.version(), header.traffic_class(), header.flow_label()), (6, 0, 0));
        assert_eq!((header.next_header(), header.hop_limit()), (protocol::UDP, 64));
        let fields = fields(protocol::UDP, 8);
        assert_eq!((header.source(), header.destination()), (fields.source, fields.destination));
        let both = [fields.source.octets(), fields.destination.octets()].concat();
        assert_eq!(header.addresses()[..], both);
        assert_eq!(read.payload, b"12345678", "without padding");
        assert_eq!(read.pseudo_sum(), fields.pseudo_sum());
    }

    #[test]
    fn class_and_flow_label_share_a_word_with_the_version() {
        let mut bytes = fields(0, 0).to_bytes();
        bytes[..4].copy_from_slice(&[0x6a, 0xbc, 0xde, 0xf1]);
        let header = Header::new(bytes);
        assert_eq!((header.version(), header.traffic_class()), (6, 0xab));
        assert_eq!(header.flow_label(), 0xc_def1);
    }

    #[test]
    fn a_hop_is_taken_from_the_limit_alone() {
        let mut header = Header::new(fields(17, 0).to_bytes());
        header.take_hop();
        assert_eq!(*header.bytes(), Fields { hop_limit: 63, ..fields(17, 0) }.to_bytes());
    }

    #[test]
    fn extension_headers_are_walked_each_by_its_own_length() {
        let (udp, none) = (protocol::UDP, extension::NONE);
        let first = Fragment { place: 0, more: true, identification: 0x0102_0304 };
        let later = Fragment { place: 0x1238, more: false, identification: 0x0102_0304 };
        let fragment = |next, place: [u8; 2]| [next, 0, place[0], place[1], 1, 2, 3, 4].to_vec();
        let hops = |next, words: u8| {
            [std::vec![next, words], std::vec![0; 8 * usize::from(words) + 6]].concat()
        };
        let signed = |next| [std::vec![next, 4], std::vec![0; 22]].concat();
        for (name, kind, bytes, protocol, start, fragment) in [
            ("no extension", udp, std::vec![0; 8], udp, 0, None),
            ("no next header", none, Vec::new(), none, 0, None),
            ("hop by hop", extension::HOP_BY_HOP, hops(udp, 0), udp, 8, None),
            ("24 bytes of routing", extension::ROUTING, hops(udp, 2), udp, 24, None),
            ("signed", extension::AUTHENTICATION, signed(udp), udp, 24, None),
            ("encrypted", protocol::ESP, std::vec![0; 8], protocol::ESP, 0, None),
            ("first fragment", 44, fragment(udp, [0, 1]), udp, 8, Some(first)),
            // What starts here is no header, whatever its first part started with.
            ("later fragment", 44, fragment(60, [0x12, 0x38]), 60, 8, Some(later)),
            ("two", 0, [hops(60, 1), hops(udp, 0)].concat(), udp, 24, None),
        ] {
            assert_eq!(upper(kind, &bytes), Ok(Upper { protocol, start, fragment }), "{name}");
        }
    }

    #[test]
    fn a_chain_that_goes_on_behind_the_bytes_or_without_an_end_is_refused() {
        assert_eq!(upper(extension::HOP_BY_HOP, &[17, 0, 0, 0, 0, 0, 0]), Err(Error::Truncated));
        let endless = [extension::DESTINATION, 0, 0, 0, 0, 0, 0, 0].repeat(20);
        assert_eq!(upper(extension::DESTINATION, &endless), Err(Error::Malformed));
        let most = [&endless[..8 * (MOST_EXTENSIONS - 1)], &[17, 0, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(upper(extension::DESTINATION, &most).map(|upper| upper.protocol), Ok(17));
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        let sound = packet(extension::DESTINATION, &[17, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]);
        let with = |at: usize, byte| {
            let mut packet = sound.clone();
            packet[at] = byte;
            packet
        };
        assert_eq!(Packet::read(&sound).map(|packet| packet.payload), Ok(&[1, 2, 3][..]));
        for (name, packet, expected) in [
            ("version 4", with(0, 0x45), Error::Malformed),
            ("longer than what there is", with(5, 12), Error::Truncated),
            ("an extension longer than the packet", with(41, 1), Error::Malformed),
            ("an extension cut by the packet's end", with(5, 7), Error::Malformed),
            ("no whole header", sound[..39].to_vec(), Error::Truncated),
        ] {
            assert_eq!(Packet::read(&packet), Err(expected), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_and_no_payload_is_longer_than_them(
            mut bytes in prop::collection::vec(any::<u8>(), 0..200), sound: bool,
        ) {
            if sound && bytes.len() > 6 {
                bytes[0] = 0x60;
                bytes[4] = 0;
                bytes[6] = extension::HOP_BY_HOP;
            }
            if let Ok(packet) = Packet::read(&bytes) {
                let all = packet.upper.start + packet.payload.len();
                prop_assert_eq!(all, usize::from(packet.header.payload_length()));
            }
        }
    }
}
