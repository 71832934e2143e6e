//! What the XDP classifier leaves in front of a packet for the adapter: eight bytes, and eight more where
//! it was told to say when the packet came.
//!
//! | bytes before the packet | field |
//! |---|---|
//! | -16..-8 | the time of arrival, nanoseconds of CLOCK_MONOTONIC, if the flag is set |
//! | -8..-4 | magic `0x53504e45` |
//! | -4..-2 | handler number |
//! | -2..0 | flags: 1 there is a time; other bits zero |
//!
//! The C side of the same layout is `xdp-progs/spine.h`. A driver without metadata, or a packet that
//! came another way, has no magic there, and the adapter classifies itself.

use crate::bytes::{u16_at, u32_at};
use crate::handler::HandlerNumber;

/// Bytes of the metadata without a time.
pub const METADATA_BYTES: usize = 8;
/// Bytes with one.
pub const TIMED_BYTES: usize = 16;
/// Says that there is a time.
pub const TIMED: u16 = 1;
/// Says that the classifier wrote the other four bytes.
pub const MAGIC: u32 = 0x5350_4e45;

/// When the packet came, in nanoseconds of CLOCK_MONOTONIC, if the classifier said so.
#[inline]
pub fn arrival(metadata: &[u8; TIMED_BYTES]) -> Option<u64> {
    let stamp: &[u8; METADATA_BYTES] = metadata.last_chunk()?;
    if u32_at(stamp, 0)? != MAGIC || u16_at(stamp, 6)? & TIMED == 0 {
        return None;
    }
    metadata.first_chunk().map(|time| u64::from_le_bytes(*time))
}

/// The handler number the classifier stamped, if it did.
#[inline]
pub fn handler(metadata: &[u8; METADATA_BYTES]) -> Option<HandlerNumber> {
    if u32_at(metadata, 0) != Some(MAGIC) {
        return None;
    }
    u16_at(metadata, 4).map(HandlerNumber).filter(|number| number.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(magic: u32, flags: u16) -> [u8; TIMED_BYTES] {
        let mut bytes = [0; TIMED_BYTES];
        bytes[..8].copy_from_slice(&0x0102_0304_0506_0708_u64.to_le_bytes());
        bytes[8..12].copy_from_slice(&magic.to_le_bytes());
        bytes[12..14].copy_from_slice(&7_u16.to_le_bytes());
        bytes[14..].copy_from_slice(&flags.to_le_bytes());
        bytes
    }

    #[test]
    fn a_time_is_read_only_where_the_stamp_says_there_is_one() {
        assert_eq!(arrival(&timed(MAGIC, TIMED)), Some(0x0102_0304_0506_0708));
        assert_eq!(arrival(&timed(MAGIC, 0)), None);
        assert_eq!(arrival(&timed(0, TIMED)), None);
        let stamp = timed(MAGIC, TIMED);
        let stamp = stamp.last_chunk().expect("eight of sixteen");
        assert_eq!(handler(stamp), Some(HandlerNumber(7)), "with a time as without");
    }
}
