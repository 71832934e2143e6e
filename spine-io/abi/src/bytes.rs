//! Little-endian words in byte slices.
//!
//! Every layout of this crate is read through these, so that a short slice is an answer (`None`) and
//! never a panic: the bytes come from an extension, a file or another process.

/// The two bytes at `offset`, or `None` past the end.
#[inline]
pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The four bytes at `offset`, or `None` past the end.
#[inline]
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The eight bytes at `offset`, or `None` past the end.
#[inline]
pub fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}
