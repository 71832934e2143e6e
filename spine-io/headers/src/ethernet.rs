//! Ethernet II (IEEE 802.3 clause 3): who, to whom, and what is inside.
//!
//! Left out: the older form with a length in the place of the EtherType (all values below 0x600), and the
//! checksum at the end, which no software sees.

use core::borrow::{Borrow, BorrowMut};

use crate::field::{get, header, set};

/// Bytes of the header.
pub const BYTES: usize = 14;
/// Bytes of the shortest frame, without the checksum at its end: shorter ones are padded.
pub const LEAST_BYTES: usize = 60;

/// A link-layer address.
pub type Address = [u8; 6];

/// The address of all stations.
pub const BROADCAST: Address = [0xff; 6];

/// Where the fields are.
pub mod offset {
    /// The address it is sent to, 6 bytes.
    pub const DESTINATION: usize = 0;
    /// The address it comes from, 6 bytes.
    pub const SOURCE: usize = 6;
    /// What is inside, 2 bytes.
    pub const ETHER_TYPE: usize = 12;
}

/// What is inside a frame (IANA, "IEEE 802 Numbers").
pub mod ether_type {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// Address resolution.
    pub const ARP: u16 = 0x0806;
    /// A VLAN tag (IEEE 802.1Q).
    pub const VLAN: u16 = 0x8100;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// "Local experimental 1" (IEEE 802 clause 9.2.4): here, messages between hosts.
    pub const EXPERIMENTAL_1: u16 = 0x88b5;
    /// A provider's VLAN tag, in front of another one (IEEE 802.1ad).
    pub const PROVIDER_VLAN: u16 = 0x88a8;
}

header! {
    /// An Ethernet header.
    BYTES
}

impl<B: Borrow<[u8; BYTES]>> Header<B> {
    /// The address it is sent to.
    #[inline(always)]
    pub fn destination(&self) -> Address {
        get::<{ offset::DESTINATION }, _, _>(self.bytes())
    }

    /// The address it comes from.
    #[inline(always)]
    pub fn source(&self) -> Address {
        get::<{ offset::SOURCE }, _, _>(self.bytes())
    }

    /// What is inside: one of [`ether_type`], or another one.
    #[inline(always)]
    pub fn ether_type(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::ETHER_TYPE }, _, _>(self.bytes()))
    }
}

impl<B: BorrowMut<[u8; BYTES]>> Header<B> {
    /// Sends it there.
    #[inline(always)]
    pub fn set_destination(&mut self, address: Address) {
        set::<{ offset::DESTINATION }, _, _>(self.0.borrow_mut(), address);
    }

    /// Has it come from there.
    #[inline(always)]
    pub fn set_source(&mut self, address: Address) {
        set::<{ offset::SOURCE }, _, _>(self.0.borrow_mut(), address);
    }
}

/// Whether an address is a group's, broadcast among them.
#[inline]
pub const fn is_group(address: Address) -> bool {
    address[0] & 1 != 0
}

/// What a sender says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// The address it is sent to.
    pub destination: Address,
    /// The address it comes from.
    pub source: Address,
    /// What is inside.
    pub ether_type: u16,
}

impl Fields {
    /// The header.
    #[inline]
    pub fn to_bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        set::<{ offset::DESTINATION }, _, _>(&mut bytes, self.destination);
        set::<{ offset::SOURCE }, _, _>(&mut bytes, self.source);
        set::<{ offset::ETHER_TYPE }, _, _>(&mut bytes, self.ether_type.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    const BYTES_OF_ONE: [u8; 16] = [2, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0, 2, 0x86, 0xdd, 0x60, 0xff];
    const FIELDS: Fields = Fields {
        destination: [2, 0, 0, 0, 0, 1],
        source: [4, 0, 0, 0, 0, 2],
        ether_type: ether_type::IPV6,
    };

    #[test]
    fn what_is_written_is_read() {
        let (header, rest) = Header::split(&BYTES_OF_ONE).expect("long enough");
        assert_eq!(header.destination(), FIELDS.destination);
        assert_eq!(header.source(), FIELDS.source);
        assert_eq!(header.ether_type(), FIELDS.ether_type);
        assert_eq!(rest, [0x60, 0xff]);
        assert_eq!(&FIELDS.to_bytes(), header.bytes());
    }

    #[test]
    fn addresses_are_changed_in_place() {
        let mut bytes = FIELDS.to_bytes();
        let mut header = Header::new(&mut bytes);
        header.set_destination(BROADCAST);
        header.set_source([9; 6]);
        let expected = Fields { destination: BROADCAST, source: [9; 6], ..FIELDS };
        assert_eq!(bytes, expected.to_bytes());
    }

    #[test]
    fn a_frame_one_byte_short_is_truncated() {
        assert_eq!(Header::split(&BYTES_OF_ONE[..BYTES - 1]), Err(Error::Truncated));
        assert!(Header::split(&BYTES_OF_ONE[..BYTES]).is_ok());
    }

    #[test]
    fn groups_are_told_by_the_lowest_bit_of_the_first_byte() {
        assert!(is_group(BROADCAST) && is_group([1, 0, 0x5e, 0, 0, 1]));
        assert!(!is_group([2, 1, 1, 1, 1, 1]));
    }
}
