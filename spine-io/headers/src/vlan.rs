//! A VLAN tag (IEEE 802.1Q clause 9): between a frame's addresses and what is inside.
//!
//! The EtherType in front of it says that it is one; the one in it says what follows. Cards and the
//! kernel often take tags out of a frame, so that who reads it does not see any.

use core::borrow::Borrow;

use crate::Error;
use crate::ethernet::ether_type;
use crate::field::{get, header, set};

/// Bytes of a tag, behind the EtherType that announces it.
pub const BYTES: usize = 4;
/// Tags that a frame may have: a provider's, and a customer's.
pub const MOST: usize = 2;

/// Where the fields are.
pub mod offset {
    /// Priority (3 bits), whether it may be dropped first (1), and the VLAN (12), 2 bytes.
    pub const CONTROL: usize = 0;
    /// What is inside, 2 bytes.
    pub const ETHER_TYPE: usize = 2;
}

header! {
    /// A VLAN tag.
    BYTES
}

impl<B: Borrow<[u8; BYTES]>> Header<B> {
    /// The VLAN, below 4096; 0 has only a priority.
    #[inline(always)]
    pub fn vlan(&self) -> u16 {
        self.control() & 0x0fff
    }

    /// The priority, below 8.
    #[inline(always)]
    pub fn priority(&self) -> u8 {
        self.control().to_be_bytes()[0] >> 5
    }

    /// Whether it may be dropped before others.
    #[inline(always)]
    pub fn may_be_dropped(&self) -> bool {
        self.control() & 0x1000 != 0
    }

    /// What is inside.
    #[inline(always)]
    pub fn ether_type(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::ETHER_TYPE }, _, _>(self.bytes()))
    }

    #[inline(always)]
    fn control(&self) -> u16 {
        u16::from_be_bytes(get::<{ offset::CONTROL }, _, _>(self.bytes()))
    }
}

/// Whether this EtherType announces a tag.
#[inline]
pub const fn is_tag(ether_type: u16) -> bool {
    matches!(ether_type, ether_type::VLAN | ether_type::PROVIDER_VLAN)
}

/// What is inside behind all tags: its EtherType and its bytes. The arguments are what the Ethernet
/// header says is inside, and the bytes that follow it.
///
/// # Errors
/// [`Error::Truncated`], and [`Error::Malformed`] for more than [`MOST`] tags.
#[inline]
pub fn untag(mut ether_type: u16, mut bytes: &[u8]) -> Result<(u16, &[u8]), Error> {
    for _ in 0..MOST {
        if !is_tag(ether_type) {
            break;
        }
        let (tag, rest) = Header::split(bytes)?;
        (ether_type, bytes) = (tag.ether_type(), rest);
    }
    if is_tag(ether_type) { Err(Error::Malformed) } else { Ok((ether_type, bytes)) }
}

/// What a sender says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    /// The VLAN, of which 12 bits are sent.
    pub vlan: u16,
    /// The priority, of which 3 bits are sent.
    pub priority: u8,
    /// What is inside.
    pub ether_type: u16,
}

impl Fields {
    /// The tag.
    #[inline]
    pub fn to_bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let control = u16::from(self.priority & 7) << 13 | self.vlan & 0x0fff;
        set::<{ offset::CONTROL }, _, _>(&mut bytes, control.to_be_bytes());
        set::<{ offset::ETHER_TYPE }, _, _>(&mut bytes, self.ether_type.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: [u8; BYTES] = [0xb1, 0x23, 0x08, 0x00];

    #[test]
    fn what_is_written_is_read() {
        let tag = Header::new(TAG);
        assert_eq!((tag.priority(), tag.may_be_dropped(), tag.vlan()), (5, true, 0x123));
        assert_eq!(tag.ether_type(), ether_type::IPV4);
        let fields = Fields { vlan: 0xf123, priority: 13, ether_type: ether_type::IPV4 };
        assert_eq!(fields.to_bytes(), [0xa1, 0x23, 0x08, 0x00], "no more bits than there are");
    }

    #[test]
    fn tags_are_skipped_as_long_as_there_may_be_some() {
        let one = [&TAG[..], b"rest"].concat();
        let two = [&[0, 1, 0x81, 0][..], &one].concat();
        let three = [&[0, 1, 0x88, 0xa8][..], &two].concat();
        let inside = Ok((ether_type::IPV4, &b"rest"[..]));
        assert_eq!(untag(ether_type::IPV4, b"rest"), inside);
        assert_eq!(untag(ether_type::VLAN, &one), inside);
        assert_eq!(untag(ether_type::PROVIDER_VLAN, &two), inside);
        assert_eq!(untag(ether_type::PROVIDER_VLAN, &three), Err(Error::Malformed));
        assert_eq!(untag(ether_type::VLAN, &one[..3]), Err(Error::Truncated));
    }
}
