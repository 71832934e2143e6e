//! A hardware FIFO: what the host writes into the doorbell region becomes an entry in SRAM (SPINE 7.1).
//!
//! An entry is two words: where in the region the host wrote, and what. FIFO_BASE and FIFO_SIZE say where the ring is and
//! how many entries it has; the hardware counts FIFO_PUT up with each write and raises LAN7_SIG, the firmware counts
//! FIFO_GET up with each entry it took. Both counters wrap at 2^32. A write to a full FIFO is refused: on a real bus the host
//! would be told to retry.

use crate::board::Shared;
use crate::time::Time;

/// Where the doorbell region begins in the board's PCI space. (SRC, of LANai 5 boards)
pub(crate) const REGION: u32 = 0x0080_8000;

/// Where it ends. (DER)
pub(crate) const REGION_END: u32 = 0x0100_0000;

/// Bytes of an entry.
const ENTRY: u32 = 8;

/// The ring as its registers describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    pub(crate) base: u32,
    pub(crate) size: u32,
    pub(crate) put: u32,
    pub(crate) get: u32,
}

impl Ring {
    /// Puts one entry in; the new FIFO_PUT, or `None` if the FIFO is off or full.
    pub(crate) fn put(
        &self,
        now: Time,
        offset: u32,
        value: u32,
        shared: &mut Shared,
    ) -> Option<u32> {
        if !self.size.is_power_of_two() || self.put.wrapping_sub(self.get) >= self.size {
            return None;
        }
        let index = self.put % self.size;
        let at = self.base.wrapping_add(index.wrapping_mul(ENTRY));
        shared.write(now, at, &offset.to_be_bytes());
        shared.write(now, at.wrapping_add(4), &value.to_be_bytes());
        Some(self.put.wrapping_add(1))
    }
}
