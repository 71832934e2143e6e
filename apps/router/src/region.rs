//! The table's region as the writer of the table sees it.

use spine_client::memory::Region;
use spine_fib::{Load, Store};

/// A region large enough for the table.
#[derive(Debug)]
pub struct TableRegion(Region);

impl TableRegion {
    /// The region for a table; `None` if it is too small for one.
    pub fn new(region: Region) -> Option<Self> {
        Self::of_size(region, spine_fib::layout::REGION_BYTES)
    }

    /// The region for a table of another layout, of `bytes`; `None` if it is smaller.
    pub fn of_size(region: Region, bytes: usize) -> Option<Self> {
        (region.len() >= bytes).then_some(Self(region))
    }

    /// The region itself, to be shared with adapters.
    pub fn region(&self) -> &Region {
        &self.0
    }
}

// The table's layout ends before the region does (`new`), so no access here is out of range; zero is
// what an empty table reads as.
impl Load for TableRegion {
    fn u8_at(&self, offset: usize) -> u8 {
        self.0.load_u8(offset).unwrap_or_default()
    }

    fn u16_at(&self, offset: usize) -> u16 {
        self.0.load_u16(offset).unwrap_or_default()
    }

    fn u32_at(&self, offset: usize) -> u32 {
        self.0.load_u32(offset).unwrap_or_default()
    }

    fn u64_at(&self, offset: usize) -> u64 {
        self.0.load_u64(offset).unwrap_or_default()
    }
}

impl Store for TableRegion {
    fn set_u8(&self, offset: usize, value: u8) {
        let written = self.0.store_u8(offset, value);
        debug_assert!(written.is_ok());
    }

    fn set_u16(&self, offset: usize, value: u16) {
        let written = self.0.store_u16(offset, value);
        debug_assert!(written.is_ok());
    }

    fn set_u32(&self, offset: usize, value: u32) {
        let written = self.0.store_u32(offset, value);
        debug_assert!(written.is_ok());
    }

    fn set_u64(&self, offset: usize, value: u64) {
        let written = self.0.store_u64(offset, value);
        debug_assert!(written.is_ok());
    }
}
