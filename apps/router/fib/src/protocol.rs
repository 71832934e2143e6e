//! What the two halves of the router say to each other.
//!
//! | message | handler | arguments |
//! |---|---|---|
//! | swap, host to extension | [`SWAP`] | half u32, sequence u32, adapter u32, flags u32 |
//! | acknowledgement, extension to host | [`SWAPPED`] | the same sixteen bytes |
//!
//! After the acknowledgement with its sequence number an adapter reads no other half than the one
//! named, so the host may write the other. Until the first swap everything goes to the kernel.

use spine_abi::HandlerNumber;
use spine_abi::bytes::u32_at;
use spine_abi::limits::ADAPTERS;

use crate::layout::HALVES;

/// The extension's handler for packets.
pub const FORWARD: HandlerNumber = HandlerNumber(1);
/// The extension's handler for [`Swap`].
pub const SWAP: HandlerNumber = HandlerNumber(2);
/// The host's own number for the acknowledgement.
pub const SWAPPED: HandlerNumber = HandlerNumber(2);

/// Bytes of a swap, and of its acknowledgement.
pub const SWAP_BYTES: usize = 16;

const COMPLETE_CHECKSUMS: u32 = 1 << 0;
const PAUSED: u32 = 1 << 1;
const CHECK_SOURCES: u32 = 1 << 2;

/// "From now on, read this half." The acknowledgement repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swap {
    /// 0 or 1.
    pub half: u32,
    /// The host's count of swaps.
    pub sequence: u32,
    /// The index of the adapter it is sent to, which no adapter knows by itself.
    pub adapter: u16,
    /// Whether transport checksums that a peer left to its network card are completed (flag bit 0).
    pub complete_checksums: bool,
    /// Whether the way back to a packet's source is looked up as well, and what is not believed given to the kernel
    /// (flag bit 2).
    pub check_sources: bool,
    /// Whether everything goes to the kernel instead (flag bit 1).
    pub paused: bool,
}

impl Swap {
    /// The arguments of the message.
    pub fn to_bytes(&self) -> [u8; SWAP_BYTES] {
        let flags = if self.complete_checksums { COMPLETE_CHECKSUMS } else { 0 }
            | if self.paused { PAUSED } else { 0 }
            | if self.check_sources { CHECK_SOURCES } else { 0 };
        let mut bytes = [0; SWAP_BYTES];
        bytes[0..4].copy_from_slice(&self.half.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[8..12].copy_from_slice(&u32::from(self.adapter).to_le_bytes());
        bytes[12..16].copy_from_slice(&flags.to_le_bytes());
        bytes
    }

    /// Reads the arguments; `None` if they are not exactly a swap.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != SWAP_BYTES {
            return None;
        }
        let half = u32_at(bytes, 0)?;
        let adapter = u16::try_from(u32_at(bytes, 8)?).ok()?;
        let flags = u32_at(bytes, 12)?;
        let sound = (half as usize) < HALVES
            && usize::from(adapter) < ADAPTERS
            && flags & !(COMPLETE_CHECKSUMS | PAUSED | CHECK_SOURCES) == 0;
        sound.then_some(Self {
            half,
            sequence: u32_at(bytes, 4)?,
            adapter,
            complete_checksums: flags & COMPLETE_CHECKSUMS != 0,
            check_sources: flags & CHECK_SOURCES != 0,
            paused: flags & PAUSED != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_survives_its_stored_form() {
        for [complete_checksums, check_sources, paused] in
            [[false; 3], [true, false, false], [false, true, false], [false, false, true]]
        {
            let (sequence, adapter) = (u32::MAX, 63);
            let swap =
                Swap { half: 1, sequence, adapter, complete_checksums, check_sources, paused };
            assert_eq!(Swap::parse(&swap.to_bytes()), Some(swap));
        }
    }

    #[test]
    fn what_is_not_exactly_a_swap_is_refused() {
        let good = Swap {
            half: 0,
            sequence: 1,
            adapter: 0,
            complete_checksums: false,
            check_sources: false,
            paused: false,
        }
        .to_bytes();
        for (what, at, value) in [
            ("a third half", 0, 2),
            ("adapter 64", 8, 64),
            ("adapter 65536", 10, 1),
            ("an unknown flag", 12, 8),
        ] {
            let mut bytes = good;
            bytes[at] = value;
            assert_eq!(Swap::parse(&bytes), None, "{what}");
        }
        assert_eq!(Swap::parse(&good[..15]), None);
        assert_eq!(Swap::parse(&[0; 17]), None);
    }
}
