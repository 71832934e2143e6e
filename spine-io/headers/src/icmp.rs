//! ICMP for IPv4 (RFC 792) and for IPv6 (RFC 4443): one form, two lists of numbers.
//!
//! Left out: what neighbours and routers tell each other by ICMPv6 (RFC 4861).

use core::borrow::Borrow;

use crate::checksum;
use crate::field::{get, header, set};

/// Bytes of the header.
pub const BYTES: usize = 8;

/// Where the fields are.
pub mod offset {
    /// What it is about, 1 byte.
    pub const KIND: usize = 0;
    /// What exactly, 1 byte.
    pub const CODE: usize = 1;
    /// Of the message, and for IPv6 of the pseudo-header, 2 bytes.
    pub const CHECKSUM: usize = 2;
    /// What differs from kind to kind, 4 bytes.
    pub const REST: usize = 4;
}

/// Kinds for IPv4, and codes of two of them.
pub mod v4 {
    /// The answer to an echo request.
    pub const ECHO_REPLY: u8 = 0;
    /// A packet could not be delivered.
    pub const UNREACHABLE: u8 = 3;
    /// A packet should take another way.
    pub const REDIRECT: u8 = 5;
    /// To be answered with the same bytes.
    pub const ECHO_REQUEST: u8 = 8;
    /// A packet took too many hops, or its fragments too long.
    pub const TIME_EXCEEDED: u8 = 11;
    /// A packet's header is wrong.
    pub const PARAMETER_PROBLEM: u8 = 12;
    /// Unreachable: it may not be cut, and is too large for the next hop, whose MTU is told (RFC 1191).
    pub const CODE_TOO_BIG: u8 = 4;
    /// Time exceeded: too many hops.
    pub const CODE_HOPS: u8 = 0;

    /// Whether a kind says that a packet met an error, and quotes it.
    #[inline]
    pub const fn is_error(kind: u8) -> bool {
        matches!(kind, UNREACHABLE | REDIRECT | TIME_EXCEEDED | PARAMETER_PROBLEM)
    }
}

/// Kinds for IPv6.
pub mod v6 {
    /// A packet could not be delivered.
    pub const UNREACHABLE: u8 = 1;
    /// A packet is too large for the next hop, whose MTU is told.
    pub const TOO_BIG: u8 = 2;
    /// A packet took too many hops, or its fragments too long.
    pub const TIME_EXCEEDED: u8 = 3;
    /// A packet's header is wrong.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// To be answered with the same bytes.
    pub const ECHO_REQUEST: u8 = 128;
    /// The answer to that.
    pub const ECHO_REPLY: u8 = 129;

    /// Whether a kind says that a packet met an error, and quotes it: all below 128 do.
    #[inline]
    pub const fn is_error(kind: u8) -> bool {
        kind < 128
    }
}

header! {
    /// An ICMP header.
    BYTES
}

impl<B: Borrow<[u8; BYTES]>> Header<B> {
    /// What it is about: one of [`v4`] or of [`v6`], or another one.
    #[inline(always)]
    pub fn kind(&self) -> u8 {
        let [byte] = get::<{ offset::KIND }, _, _>(self.bytes());
        byte
    }

    /// What exactly.
    #[inline(always)]
    pub fn code(&self) -> u8 {
        let [byte] = get::<{ offset::CODE }, _, _>(self.bytes());
        byte
    }

    /// The checksum.
    #[inline(always)]
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::CHECKSUM }, _, _>(self.bytes()))
    }

    /// Of an echo: who asked.
    #[inline(always)]
    pub fn identifier(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::REST }, _, _>(self.bytes()))
    }

    /// Of an echo: which question.
    #[inline(always)]
    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::REST + 2 }, _, _>(self.bytes()))
    }

    /// Of "too big" for IPv4: the MTU of the next hop; zero from a router that does not tell.
    #[inline(always)]
    pub fn mtu_v4(&self) -> u16 {
        self.sequence()
    }

    /// Of "too big" for IPv6: the MTU of the next hop.
    #[inline(always)]
    pub fn mtu_v6(&self) -> u32 {
        u32::from_be_bytes(get::<{ offset::REST }, _, _>(self.bytes()))
    }
}

/// A message: the header, and an echo's data or the packet that an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The header.
    pub header: Header<&'a [u8; BYTES]>,
    /// What follows it: of an error, the start of the packet that met it, from its IP header on.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads what follows an IP header, all of it: ICMP has no length of its own.
    ///
    /// # Errors
    /// [`Error::Truncated`](crate::Error::Truncated).
    #[inline]
    pub fn read(bytes: &'a [u8]) -> Result<Self, crate::Error> {
        let (header, body) = Header::split(bytes)?;
        Ok(Self { header, body })
    }

    /// Whether the checksum is right; `pseudo` is the sum of IPv6's pseudo-header, and zero for IPv4.
    #[inline]
    pub fn has_right_checksum(&self, pseudo: u64) -> bool {
        checksum::holds(pseudo + checksum::sum(self.header.bytes()) + checksum::sum(self.body))
    }
}

/// What a sender says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// What it is about.
    pub kind: u8,
    /// What exactly.
    pub code: u8,
    /// What differs from kind to kind: an echo's identifier and number, an MTU.
    pub rest: [u8; 4],
}

impl Fields {
    /// An echo request or reply.
    #[inline]
    pub const fn echo(kind: u8, identifier: u16, sequence: u16) -> Self {
        let ([a, b], [c, d]) = (identifier.to_be_bytes(), sequence.to_be_bytes());
        Self { kind, code: 0, rest: [a, b, c, d] }
    }

    /// The header with the checksum for this body; `pseudo` is the sum of IPv6's pseudo-header, and zero
    /// for IPv4.
    #[inline]
    pub fn to_bytes_for(&self, pseudo: u64, body: &[u8]) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        set::<{ offset::KIND }, _, _>(&mut bytes, [self.kind]);
        set::<{ offset::CODE }, _, _>(&mut bytes, [self.code]);
        set::<{ offset::REST }, _, _>(&mut bytes, self.rest);
        let checksum = checksum::finish(pseudo + checksum::sum(&bytes) + checksum::sum(body));
        set::<{ offset::CHECKSUM }, _, _>(&mut bytes, checksum.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_echo_request_is_written_and_read() {
        // What Windows' ping sends: identifier 1, number 1, "abc...wabcdefghi"; its checksum is 0x4d5a.
        let body = b"abcdefghijklmnopqrstuvwabcdefghi";
        let bytes = Fields::echo(v4::ECHO_REQUEST, 1, 1).to_bytes_for(0, body);
        assert_eq!(bytes, [8, 0, 0x4d, 0x5a, 0, 1, 0, 1]);
        let all = [&bytes[..], body].concat();
        let message = Message::read(&all).expect("long enough");
        assert_eq!((message.header.kind(), message.header.code()), (v4::ECHO_REQUEST, 0));
        assert_eq!((message.header.identifier(), message.header.sequence()), (1, 1));
        assert_eq!((message.header.checksum(), message.body), (0x4d5a, &body[..]));
        assert!(message.has_right_checksum(0) && !message.has_right_checksum(1));
    }

    #[test]
    fn errors_tell_an_mtu_each_in_its_place() {
        let header =
            |kind, code, rest| Header::new(Fields { kind, code, rest }.to_bytes_for(0, b"quoted"));
        assert_eq!(header(v4::UNREACHABLE, v4::CODE_TOO_BIG, [0, 0, 0x05, 0x78]).mtu_v4(), 1400);
        assert_eq!(header(v6::TOO_BIG, 0, [0, 1, 0, 0]).mtu_v6(), 65536);
    }

    #[test]
    fn errors_are_told_from_questions_and_answers() {
        let errors: std::vec::Vec<u8> = (0..=u8::MAX).filter(|kind| v4::is_error(*kind)).collect();
        assert_eq!(errors, [3, 5, 11, 12]);
        assert!(v6::is_error(v6::TOO_BIG) && !v6::is_error(v6::ECHO_REQUEST));
    }

    #[test]
    fn a_message_shorter_than_its_header_is_truncated() {
        assert_eq!(Message::read(&[0; 7]), Err(crate::Error::Truncated));
        assert_eq!(Message::read(&[0; 8]).map(|message| message.body), Ok(&[][..]));
    }
}
