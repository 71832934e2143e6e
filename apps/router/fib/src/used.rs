//! Which next hops are in use: a byte for each, shared by both halves of a table and all adapters.

use crate::Store;

/// The bytes of one table, whichever its layout.
#[derive(Debug, Clone, Copy)]
pub struct Used<'a, Region: Store> {
    region: &'a Region,
    start: usize,
}

impl<'a, Region: Store> Used<'a, Region> {
    /// Those that start there in the region.
    #[inline(always)]
    pub(crate) const fn at(region: &'a Region, start: usize) -> Self {
        Self { region, start }
    }

    /// Says that the next hop was used. Written only if it was not known, so that adapters that use
    /// the same one do not fight for its cache line.
    #[inline(always)]
    pub fn mark(&self, index: u16) {
        let at = self.start + usize::from(index);
        if self.region.u8_at(at) == 0 {
            self.region.set_u8(at, 1);
        }
    }

    /// Whether the next hop was used since the last call; forgets it.
    ///
    /// An adapter may mark it between the two accesses, and that mark is lost: the next packet sets it
    /// again, long before a neighbour goes stale.
    pub fn take(&self, index: u16) -> bool {
        let at = self.start + usize::from(index);
        let used = self.region.u8_at(at) != 0;
        if used {
            self.region.set_u8(at, 0);
        }
        used
    }
}
