//! Chained DMA: the host DMA follows a list of blocks in SRAM (SPINE 7.2).
//!
//! A block is six words: next, two 16-bit checksums, length, SRAM address, PCI address (high, low). The low bits of `next`
//! say what the block is: 1 from the host, 2 the last one, 4 raise WAKE_INT when it is done. Blocks are eight-aligned. When a
//! block is done its first checksum holds the sum of its bytes. DMA_INT rises after the last.

use crate::board::Shared;
use crate::dma::Job;

/// Bytes of a block.
pub(crate) const BLOCK: u32 = 24;

const FROM_HOST: u32 = 1;
const TERMINAL: u32 = 2;
const WAKE: u32 = 4;

/// PULSE: start the list that begins at CHAIN_L2E.
pub(crate) const PULSE_L2E: u32 = 2;
/// PULSE: start the list that begins at CHAIN_E2L.
pub(crate) const PULSE_E2L: u32 = 4;

/// A block of the list that the engine is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    address: u32,
    next: u32,
    job: Job,
}

impl Block {
    /// The block at `address`; `None` if it is not wholly in SRAM or names a PCI address beyond 32 bits.
    pub(crate) fn read(address: u32, stride: (u32, u32), shared: &Shared) -> Option<Self> {
        let address = address & !7;
        shared.sram.slice(address, BLOCK)?;
        let word = |index: u32| shared.sram.word(address + 4 * index);
        let (next, length, lar, high, ear) = (word(0)?, word(2)?, word(3)?, word(4)?, word(5)?);
        let job = Job { from_host: next & FROM_HOST != 0, ear, lar, length, stride };
        (high == 0).then_some(Self { address, next, job })
    }

    /// What it asks for.
    pub(crate) fn job(&self) -> Job {
        self.job
    }

    /// Whether it raises WAKE_INT.
    pub(crate) fn wakes(&self) -> bool {
        self.next & WAKE != 0
    }

    /// Where the next one is; `None` after the last.
    pub(crate) fn next(&self) -> Option<u32> {
        (self.next & TERMINAL == 0).then_some(self.next & !7)
    }

    /// Where its checksum goes.
    pub(crate) fn checksum(&self) -> u32 {
        self.address + 4
    }
}
