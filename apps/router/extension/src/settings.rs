//! What the host half last said: which half of the table, which adapter, what else.

use spine_fib::protocol::Swap;
use spine_sdk::Global;

/// Packed in one word, so that a handler stopped in between leaves the old settings or the new ones.
static CURRENT: Global<u32> = Global::<u32>::new(0);

const FORWARDING: u32 = 1 << 31;
const COMPLETE_CHECKSUMS: u32 = 1 << 1;
const CHECK_SOURCES: u32 = 1 << 2;
const HALF: u32 = 1 << 0;
const ADAPTER_SHIFT: u32 = 8;

/// The settings while packets are forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The half of the table to read, 0 or 1.
    pub half: u32,
    /// The index of this adapter.
    pub adapter: u16,
    /// Whether transport checksums that were left to a network card are completed.
    pub complete_checksums: bool,
    /// Whether the way back to a packet's source is looked up as well.
    pub check_sources: bool,
}

impl Settings {
    /// What was last said; `None` before that, and while forwarding is switched off.
    #[inline]
    pub fn current() -> Option<Self> {
        let bits = CURRENT.get();
        (bits & FORWARDING != 0).then_some(Self {
            half: bits & HALF,
            adapter: (bits >> ADAPTER_SHIFT & 0xffff) as u16,
            complete_checksums: bits & COMPLETE_CHECKSUMS != 0,
            check_sources: bits & CHECK_SOURCES != 0,
        })
    }

    /// Does as the host half says.
    pub fn apply(swap: &Swap) {
        let mut bits = (u32::from(swap.adapter) << ADAPTER_SHIFT) | (swap.half & HALF);
        if !swap.paused {
            bits |= FORWARDING;
        }
        if swap.complete_checksums {
            bits |= COMPLETE_CHECKSUMS;
        }
        if swap.check_sources {
            bits |= CHECK_SOURCES;
        }
        CURRENT.set(bits);
    }
}
