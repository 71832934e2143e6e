//! UDP (RFC 768).

use core::borrow::Borrow;

use crate::field::{get, header, set};
use crate::{Error, checksum, in_u16};

/// Bytes of the header.
pub const BYTES: usize = 8;

/// Where the fields are.
pub mod offset {
    /// The port it comes from, 2 bytes.
    pub const SOURCE_PORT: usize = 0;
    /// The port it is sent to, 2 bytes.
    pub const DESTINATION_PORT: usize = 2;
    /// Bytes of header and payload, 2 bytes.
    pub const LENGTH: usize = 4;
    /// Of the pseudo-header, the header and the payload; zero says "none", 2 bytes.
    pub const CHECKSUM: usize = 6;
}

header! {
    /// A UDP header.
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

    /// Bytes of header and payload, as it says.
    #[inline(always)]
    pub fn length(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::LENGTH }, _, _>(self.bytes()))
    }

    /// The checksum; zero says that there is none.
    #[inline(always)]
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::CHECKSUM }, _, _>(self.bytes()))
    }
}

/// A datagram whose length agrees with the bytes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The header.
    pub header: Header<&'a [u8; BYTES]>,
    /// What it carries.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads what follows an IP header.
    ///
    /// # Errors
    /// [`Error::Truncated`] if `bytes` are fewer than it says, [`Error::Malformed`] if it says that it is
    /// shorter than its header.
    #[inline]
    pub fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let (header, _) = Header::split(bytes)?;
        let length = usize::from(header.length());
        if length < BYTES {
            return Err(Error::Malformed);
        }
        let payload = bytes.get(BYTES..length).ok_or(Error::Truncated)?;
        Ok(Self { header, payload })
    }

    /// Whether the checksum is right or there is none; `pseudo` is the sum of the pseudo-header.
    #[inline]
    pub fn has_right_checksum(&self, pseudo: u64) -> bool {
        let all = checksum::sum(self.header.bytes()) + checksum::sum(self.payload);
        self.header.checksum() == 0 || checksum::holds(pseudo + all)
    }
}

/// What a sender says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// The port it comes from.
    pub source_port: u16,
    /// The port it is sent to.
    pub destination_port: u16,
    /// Bytes of the payload, at most 65527.
    pub payload: u16,
}

impl Fields {
    /// The header, without a checksum, as IPv4 allows.
    #[inline]
    pub fn to_bytes(&self) -> [u8; BYTES] {
        const HEADER: u16 = in_u16(BYTES);
        let length = self.payload.saturating_add(HEADER);
        let mut bytes = [0; BYTES];
        set::<{ offset::SOURCE_PORT }, _, _>(&mut bytes, self.source_port.to_be_bytes());
        set::<{ offset::DESTINATION_PORT }, _, _>(&mut bytes, self.destination_port.to_be_bytes());
        set::<{ offset::LENGTH }, _, _>(&mut bytes, length.to_be_bytes());
        bytes
    }

    /// The header with the checksum for this payload; `pseudo` is the sum of the pseudo-header.
    #[inline]
    pub fn to_bytes_for(&self, pseudo: u64, payload: &[u8]) -> [u8; BYTES] {
        let mut bytes = self.to_bytes();
        let all = pseudo + checksum::sum(&bytes) + checksum::sum(payload);
        let checksum = checksum::finish_nonzero(all);
        set::<{ offset::CHECKSUM }, _, _>(&mut bytes, checksum.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use core::net::{Ipv4Addr, Ipv6Addr};
    use proptest::prelude::*;

    use super::*;
    use crate::{ipv4, protocol};

    const FIELDS: Fields = Fields { source_port: 0x14e9, destination_port: 53, payload: 4 };

    fn pseudo() -> u64 {
        let (from, to) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        ipv4::Fields::new(from, to, protocol::UDP, 12).pseudo_sum()
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = [&FIELDS.to_bytes()[..], b"spin", &[0xee; 3]].concat();
        assert_eq!(bytes[..8], [0x14, 0xe9, 0, 53, 0, 12, 0, 0]);
        let datagram = Datagram::read(&bytes).expect("sound");
        let header = datagram.header;
        assert_eq!((header.source_port(), header.destination_port()), (0x14e9, 53));
        assert_eq!((header.length(), header.checksum()), (12, 0));
        assert_eq!(datagram.payload, b"spin", "without padding");
        assert!(datagram.has_right_checksum(pseudo()), "there is none");
    }

    #[test]
    fn a_checksum_covers_the_pseudo_header_the_header_and_the_payload() {
        let bytes = [&FIELDS.to_bytes_for(pseudo(), b"spin")[..], b"spin"].concat();
        // The complement of 0x0629, as summed by hand in the tests of `checksum`.
        assert_eq!(bytes[6..8], [0xf9, 0xd6]);
        let holds =
            |bytes: &[u8], pseudo| Datagram::read(bytes).expect("sound").has_right_checksum(pseudo);
        assert!(holds(&bytes, pseudo()));
        assert!(!holds(&bytes, pseudo() + 1), "another address");
        for at in [0, 2, 6, 8, 11] {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert!(!holds(&bytes, pseudo()), "byte {at}");
        }
    }

    #[test]
    fn a_known_datagram_over_ipv6_has_the_checksum_that_scapy_gives_it() {
        let fields = crate::ipv6::Fields {
            source: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
            destination: Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 2),
            next_header: protocol::UDP,
            payload: 12,
            hop_limit: 64,
        };
        let bytes = FIELDS.to_bytes_for(fields.pseudo_sum(), b"spin");
        assert_eq!(bytes[6..8], [0xb2, 0x63]);
    }

    #[test]
    fn a_checksum_of_zero_is_sent_as_all_ones() {
        let fields = Fields { source_port: 0, destination_port: 0, payload: 2 };
        // The length is 10, and the payload what is missing to 0xffff.
        let payload = (0xffff_u16 - 10).to_be_bytes();
        assert_eq!(fields.to_bytes_for(0, &payload)[6..], [0xff, 0xff]);
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        let with = |length: u8| [0, 1, 0, 2, 0, length, 0, 0, 9];
        assert_eq!(Datagram::read(&with(7)), Err(Error::Malformed));
        assert_eq!(Datagram::read(&with(10)), Err(Error::Truncated));
        assert_eq!(Datagram::read(&with(9)[..7]), Err(Error::Truncated));
        assert_eq!(Datagram::read(&with(8)).map(|datagram| datagram.payload), Ok(&[][..]));
    }

    proptest! {
        #[test]
        fn a_written_checksum_is_right(
            payload in prop::collection::vec(any::<u8>(), 0..100), source_port: u16,
            pseudo in 0u64..1 << 34,
        ) {
            let length = u16::try_from(payload.len()).expect("short");
            let fields = Fields { source_port, destination_port: 9, payload: length };
            let bytes = [&fields.to_bytes_for(pseudo, &payload)[..], &payload].concat();
            let datagram = Datagram::read(&bytes).expect("sound");
            prop_assert!(datagram.header.checksum() != 0 && datagram.has_right_checksum(pseudo));
        }
    }
}
