//! Reading structures of C.

/// One structure, with its name and revision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Info<'a> {
    pub(crate) name: &'a str,
    pub(crate) revision: u32,
    pub(crate) bytes: &'a [u8],
    pub(crate) is_ipv6: bool,
}

impl<'a> Info<'a> {
    pub(super) fn at(self, offset: usize, length: usize) -> Option<&'a [u8]> {
        self.bytes.get(offset..offset.checked_add(length)?)
    }

    pub(super) fn u8(self, offset: usize) -> Option<u8> {
        self.bytes.get(offset).copied()
    }

    pub(super) fn u16(self, offset: usize) -> Option<u16> {
        Some(u16::from_ne_bytes(*self.at(offset, 2)?.first_chunk()?))
    }

    pub(super) fn be16(self, offset: usize) -> Option<u16> {
        Some(u16::from_be_bytes(*self.at(offset, 2)?.first_chunk()?))
    }

    pub(super) fn u32(self, offset: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(*self.at(offset, 4)?.first_chunk()?))
    }

    /// An address, in a field that has room for either family's.
    pub(super) fn address(self, offset: usize) -> Option<&'a [u8]> {
        self.at(offset, if self.is_ipv6 { 16 } else { 4 })
    }
}
