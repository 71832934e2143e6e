//! Regions: memory fixed at load time and shared with the application (SPINE 3.4).
//!
//! Somebody else may write a region at any moment, so it is never lent out as a slice: every access is
//! one aligned little-endian word, by value. On wasm32 that is one load or store and a comparison.
//!
//! What is out of range or not aligned reads as zero and is not written. Trapping instead would stop
//! the handler, and the packet with it, over a table that the application got wrong; a table whose
//! zeroes mean "nothing here" turns the same mistake into the ordinary way out.

use crate::sys::Span;

/// A handle on a region; copying it copies no memory.
#[derive(Debug, Clone, Copy)]
pub struct Region(pub(crate) Span);

impl Region {
    /// Bytes of the region.
    #[inline]
    pub fn length(self) -> usize {
        self.0.length()
    }

    /// The byte at `offset`; zero out of range.
    #[inline]
    pub fn u8_at(self, offset: usize) -> u8 {
        self.0.load8(offset).unwrap_or(0)
    }

    /// The 16-bit word at `offset`; zero out of range or if `offset` is odd.
    #[inline]
    pub fn u16_at(self, offset: usize) -> u16 {
        self.0.load16(offset).unwrap_or(0)
    }

    /// The 32-bit word at `offset`; zero out of range or if `offset` is not a multiple of four.
    #[inline]
    pub fn u32_at(self, offset: usize) -> u32 {
        self.0.load32(offset).unwrap_or(0)
    }

    /// The 64-bit word at `offset`; zero out of range or if `offset` is not a multiple of eight.
    #[inline]
    pub fn u64_at(self, offset: usize) -> u64 {
        self.0.load64(offset).unwrap_or(0)
    }

    /// Writes a byte; nothing out of range.
    #[inline]
    pub fn set_u8(self, offset: usize, value: u8) {
        self.0.store8(offset, value);
    }

    /// Writes a 16-bit word; nothing out of range or if `offset` is odd.
    #[inline]
    pub fn set_u16(self, offset: usize, value: u16) {
        self.0.store16(offset, value);
    }

    /// Writes a 32-bit word; nothing out of range or if `offset` is not a multiple of four.
    #[inline]
    pub fn set_u32(self, offset: usize, value: u32) {
        self.0.store32(offset, value);
    }

    /// Writes a 64-bit word; nothing out of range or if `offset` is not a multiple of eight.
    #[inline]
    pub fn set_u64(self, offset: usize, value: u64) {
        self.0.store64(offset, value);
    }
}

#[cfg(test)]
mod tests {
    use crate::testing;

    #[test]
    fn words_are_little_endian_and_shared_by_all_copies() {
        let region = testing::region(64);
        region.set_u32(8, 0x0403_0201);
        let copy = region;
        assert_eq!([8, 9, 10, 11].map(|at| copy.u8_at(at)), [1, 2, 3, 4]);
        assert_eq!(copy.u16_at(10), 0x0403);
        copy.set_u16(8, 0xffee);
        copy.set_u8(11, 9);
        assert_eq!(region.u32_at(8), 0x0903_ffee);
        region.set_u64(8, 0x1122_3344_0903_ffee);
        assert_eq!((copy.u32_at(8), copy.u32_at(12)), (0x0903_ffee, 0x1122_3344));
        assert_eq!(region.u64_at(8), 0x1122_3344_0903_ffee);
    }

    #[test]
    fn out_of_range_or_unaligned_reads_zero_and_writes_nothing() {
        let region = testing::region(10);
        for at in 0..10 {
            region.set_u8(at, 0xff);
        }
        let before: Vec<u8> = (0..10).map(|at| region.u8_at(at)).collect();
        for at in [10, 11, usize::MAX, usize::MAX - 1, 1 << 40] {
            assert_eq!((region.u8_at(at), region.u16_at(at), region.u32_at(at)), (0, 0, 0), "{at}");
            region.set_u8(at, 1);
            region.set_u16(at, 1);
            region.set_u32(at, 1);
        }
        assert_eq!(region.u32_at(8), 0, "two bytes short");
        assert_eq!((region.u16_at(3), region.u32_at(2)), (0, 0), "not aligned");
        assert_eq!(
            (region.u64_at(4), region.u64_at(8)),
            (0, 0),
            "not aligned, and two short of ten"
        );
        region.set_u64(4, 0);
        region.set_u64(8, 0);
        region.set_u16(3, 0);
        region.set_u32(2, 0);
        region.set_u32(8, 0);
        assert_eq!(before, (0..10).map(|at| region.u8_at(at)).collect::<Vec<_>>());
    }
}
