//! TCP (RFC 9293 3.1).
//!
//! Left out: what options say. [`Segment`] tells where they are.

use core::borrow::{Borrow, BorrowMut};

use crate::field::{get, header, set};
use crate::{Error, checksum};

/// Bytes of the header without options.
pub const BYTES: usize = 20;
/// Bytes of the header with as many options as there may be.
pub const MOST_BYTES: usize = 60;

/// Where the fields are.
pub mod offset {
    /// The port it comes from, 2 bytes.
    pub const SOURCE_PORT: usize = 0;
    /// The port it is sent to, 2 bytes.
    pub const DESTINATION_PORT: usize = 2;
    /// The number of its first byte of data, 4 bytes.
    pub const SEQUENCE: usize = 4;
    /// The number of the next byte expected, 4 bytes.
    pub const ACKNOWLEDGEMENT: usize = 8;
    /// Words of the header (high 4 bits), 1 byte.
    pub const DATA_OFFSET: usize = 12;
    /// The flags, 1 byte.
    pub const FLAGS: usize = 13;
    /// Bytes that may come, scaled, 2 bytes.
    pub const WINDOW: usize = 14;
    /// Of the pseudo-header, the header and the data, 2 bytes.
    pub const CHECKSUM: usize = 16;
    /// Where urgent data ends, 2 bytes.
    pub const URGENT: usize = 18;
}

/// The flags, as bits.
pub mod flags {
    /// Nothing follows.
    pub const FIN: u8 = 0x01;
    /// The connection starts.
    pub const SYN: u8 = 0x02;
    /// There is no connection.
    pub const RST: u8 = 0x04;
    /// The receiver is not to wait for more.
    pub const PSH: u8 = 0x08;
    /// The acknowledgement is one.
    pub const ACK: u8 = 0x10;
    /// Some of the data is urgent.
    pub const URG: u8 = 0x20;
    /// The other side was told of congestion (RFC 3168).
    pub const ECE: u8 = 0x40;
    /// Congestion was answered (RFC 3168).
    pub const CWR: u8 = 0x80;
}

header! {
    /// A TCP header without its options.
    BYTES
}

impl<B: Borrow<[u8; BYTES]>> Header<B> {
    /// The port it comes from.
    #[inline(always)]
    pub fn source_port(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::SOURCE_PORT }, _, _>(self.bytes()))
    }

    /// The port it is sent to.
    #[inline(always)]
    pub fn destination_port(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::DESTINATION_PORT }, _, _>(self.bytes()))
    }

    /// The number of its first byte of data.
    #[inline(always)]
    pub fn sequence(&self) -> u32 {
        u32::from_be_bytes(get::<{ offset::SEQUENCE }, _, _>(self.bytes()))
    }

    /// The number of the next byte expected, if it has [`flags::ACK`].
    #[inline(always)]
    pub fn acknowledgement(&self) -> u32 {
        u32::from_be_bytes(get::<{ offset::ACKNOWLEDGEMENT }, _, _>(self.bytes()))
    }

    /// Bytes of the header with options, as it says: 0 to 60, and not below 20 in a sound one.
    #[inline(always)]
    pub fn header_length(&self) -> usize {
        let [byte] = get::<{ offset::DATA_OFFSET }, _, _>(self.bytes());
        4 * usize::from(byte >> 4)
    }

    /// The [`flags`].
    #[inline(always)]
    pub fn flags(&self) -> u8 {
        let [byte] = get::<{ offset::FLAGS }, _, _>(self.bytes());
        byte
    }

    /// Bytes that may come, scaled as was agreed at the start.
    #[inline(always)]
    pub fn window(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::WINDOW }, _, _>(self.bytes()))
    }

    /// The checksum.
    #[inline(always)]
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::CHECKSUM }, _, _>(self.bytes()))
    }
}

impl<B: BorrowMut<[u8; BYTES]>> Header<B> {
    /// Gives its first byte of data another number. The checksum is not right then.
    #[inline(always)]
    pub fn set_sequence(&mut self, number: u32) {
        set::<{ offset::SEQUENCE }, _, _>(self.0.borrow_mut(), number.to_be_bytes());
    }

    /// Replaces the flags. The checksum is not right then.
    #[inline(always)]
    pub fn set_flags(&mut self, flags: u8) {
        set::<{ offset::FLAGS }, _, _>(self.0.borrow_mut(), [flags]);
    }

    /// Replaces the checksum.
    #[inline(always)]
    pub fn set_checksum(&mut self, checksum: u16) {
        set::<{ offset::CHECKSUM }, _, _>(self.0.borrow_mut(), checksum.to_be_bytes());
    }
}

/// A segment whose header is as long as it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The header.
    pub header: Header<&'a [u8; BYTES]>,
    /// Its options.
    pub options: &'a [u8],
    /// What it carries.
    pub payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Reads what follows an IP header, all of it: TCP has no length of its own.
    ///
    /// # Errors
    /// [`Error::Truncated`] if `bytes` are fewer than the header, [`Error::Malformed`] if that says that
    /// it is shorter than it can be.
    #[inline]
    pub fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, _) = Header::split(bytes)?;
        if header.header_length() < BYTES {
            return Err(Error::Malformed);
        }
        let parts = bytes.split_at_checked(header.header_length());
        let (front, payload) = parts.ok_or(Error::Truncated)?;
        Ok(Self { header, options: front.get(BYTES..).unwrap_or(&[]), payload })
    }

    /// Whether the checksum is right; `pseudo` is the sum of the pseudo-header.
    #[inline]
    pub fn has_right_checksum(&self, pseudo: u64) -> bool {
        let front = checksum::sum(self.header.bytes()) + checksum::sum(self.options);
        checksum::holds(pseudo + front + checksum::sum(self.payload))
    }
}

/// What a sender says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// The port it comes from.
    pub source_port: u16,
    /// The port it is sent to.
    pub destination_port: u16,
    /// The number of its first byte of data.
    pub sequence: u32,
    /// The number of the next byte expected.
    pub acknowledgement: u32,
    /// The [`flags`].
    pub flags: u8,
    /// Bytes that may come.
    pub window: u16,
}

impl Fields {
    /// The header, without options and with the checksum for this payload; `pseudo` is the sum of the
    /// pseudo-header.
    #[inline]
    pub fn to_bytes_for(&self, pseudo: u64, payload: &[u8]) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        set::<{ offset::SOURCE_PORT }, _, _>(&mut bytes, self.source_port.to_be_bytes());
        set::<{ offset::DESTINATION_PORT }, _, _>(&mut bytes, self.destination_port.to_be_bytes());
        set::<{ offset::ACKNOWLEDGEMENT }, _, _>(&mut bytes, self.acknowledgement.to_be_bytes());
        set::<{ offset::DATA_OFFSET }, _, _>(&mut bytes, [0x50]);
        set::<{ offset::WINDOW }, _, _>(&mut bytes, self.window.to_be_bytes());
        let mut header = Header::new(&mut bytes);
        header.set_sequence(self.sequence);
        header.set_flags(self.flags);
        let all = pseudo + checksum::sum(header.bytes()) + checksum::sum(payload);
        header.set_checksum(checksum::finish(all));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIELDS: Fields = Fields {
        source_port: 0x1234,
        destination_port: 80,
        sequence: 0xffff_fff0,
        acknowledgement: 0x0102_0304,
        flags: flags::ACK | flags::PSH,
        window: 0x0100,
    };

    #[test]
    fn what_is_written_is_read() {
        let bytes = [&FIELDS.to_bytes_for(77, b"data")[..], b"data"].concat();
        let front = [0x12, 0x34, 0, 80, 0xff, 0xff, 0xff, 0xf0, 1, 2, 3, 4, 0x50, 0x18, 1, 0];
        assert_eq!(bytes[..16], front);
        let segment = Segment::read(&bytes).expect("sound");
        let header = segment.header;
        let fields = Fields {
            source_port: header.source_port(),
            destination_port: header.destination_port(),
            sequence: header.sequence(),
            acknowledgement: header.acknowledgement(),
            flags: header.flags(),
            window: header.window(),
        };
        assert_eq!(fields, FIELDS);
        assert_eq!((segment.options, segment.payload), (&[][..], &b"data"[..]));
        assert!(segment.has_right_checksum(77) && !segment.has_right_checksum(78));
    }

    #[test]
    fn a_known_segment_has_the_checksum_it_had_on_the_wire() {
        // A SYN of 40 bytes of IP from 10.0.0.1:20 to 10.0.0.2:80, number 0, window 8192: the packet that
        // scapy makes of IP(src, dst)/TCP() with nothing else said.
        let (from, to) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let pseudo = checksum::pseudo_ipv4(from.into(), to.into(), crate::protocol::TCP, 20);
        let (sequence, acknowledgement) = (0, 0);
        let fields = Fields {
            source_port: 20,
            destination_port: 80,
            sequence,
            acknowledgement,
            flags: flags::SYN,
            window: 8192,
        };
        let bytes = fields.to_bytes_for(pseudo, &[]);
        assert_eq!(bytes[offset::CHECKSUM..][..2], [0x7b, 0x7c]);
    }

    #[test]
    fn options_are_between_header_and_data() {
        let mut bytes = [&FIELDS.to_bytes_for(0, &[])[..], &[1, 1, 1, 0], b"data"].concat();
        bytes[offset::DATA_OFFSET] = 0x60;
        let segment = Segment::read(&bytes).expect("sound");
        assert_eq!((segment.options, segment.payload), (&[1, 1, 1, 0][..], &b"data"[..]));
    }

    #[test]
    fn numbers_flags_and_checksum_are_changed_in_place() {
        let mut bytes = FIELDS.to_bytes_for(0, &[]);
        let mut header = Header::new(&mut bytes);
        header.set_sequence(5);
        header.set_flags(flags::FIN);
        header.set_checksum(0xabcd);
        let header = Header::new(bytes);
        assert_eq!((header.sequence(), header.flags()), (5, flags::FIN));
        assert_eq!((header.checksum(), header.window()), (0xabcd, FIELDS.window));
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        let mut bytes = FIELDS.to_bytes_for(0, &[]);
        assert_eq!(Segment::read(&bytes[..19]), Err(Error::Truncated));
        bytes[offset::DATA_OFFSET] = 0x40;
        assert_eq!(Segment::read(&bytes), Err(Error::Malformed));
        bytes[offset::DATA_OFFSET] = 0x60;
        assert_eq!(Segment::read(&bytes), Err(Error::Truncated));
    }

    proptest! {
        #[test]
        fn a_written_checksum_is_right(
            payload in prop::collection::vec(any::<u8>(), 0..100), sequence: u32,
            pseudo in 0u64..1 << 34,
        ) {
            let bytes = Fields { sequence, ..FIELDS }.to_bytes_for(pseudo, &payload);
            let bytes = [&bytes[..], &payload].concat();
            prop_assert!(Segment::read(&bytes).expect("sound").has_right_checksum(pseudo));
        }
    }
}
