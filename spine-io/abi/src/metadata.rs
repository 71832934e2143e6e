//! What the XDP classifier leaves in front of a packet for the adapter: eight bytes.
//!
//! | bytes before the packet | field |
//! |---|---|
//! | -8..-4 | magic `0x53504e45` |
//! | -4..-2 | handler number |
//! | -2..0 | zero |
//!
//! The C side of the same layout is `xdp-progs/spine.h`. A driver without metadata, or a packet that
//! came another way, has no magic there, and the adapter classifies itself.

use crate::bytes::{u16_at, u32_at};
use crate::handler::HandlerNumber;

/// Bytes of the metadata.
pub const METADATA_BYTES: usize = 8;
/// Says that the classifier wrote the other four bytes.
pub const MAGIC: u32 = 0x5350_4e45;

/// The handler number the classifier stamped, if it did.
#[inline]
pub fn handler(metadata: &[u8; METADATA_BYTES]) -> Option<HandlerNumber> {
    if u32_at(metadata, 0) != Some(MAGIC) {
        return None;
    }
    u16_at(metadata, 4).map(HandlerNumber).filter(|number| number.is_some())
}
