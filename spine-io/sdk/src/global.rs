//! What an extension remembers between messages: statics without `unsafe`.
//!
//! An extension runs on one processor and its handlers never overlap, so relaxed atomics are plain
//! loads and stores there. A handler may be stopped between two of them: what must change together
//! belongs in one.
//!
//! On the host every thread has its own values, as every loaded extension has: tests do not share them.

use crate::region::Region;
use crate::sys::{Cell, SpanCell};

/// A number or a flag in a static: `static SEEN: Global<u64> = Global::<u64>::new(0);`
#[derive(Debug)]
pub struct Global<T> {
    cell: Cell,
    of: core::marker::PhantomData<fn() -> T>,
}

macro_rules! global {
    ($($type:ty: $from:expr;)*) => {$(
        impl Global<$type> {
            /// A static that starts as `value`.
            pub const fn new(value: $type) -> Self {
                Self { cell: Cell::new(value as u64), of: core::marker::PhantomData }
            }

            /// The value.
            #[inline]
            pub fn get(&'static self) -> $type {
                let from: fn(u64) -> $type = $from;
                from(self.cell.get())
            }

            /// Replaces the value.
            #[inline]
            pub fn set(&'static self, value: $type) {
                self.cell.set(value as u64);
            }
        }
    )*};
}

global! {
    bool: |bits| bits != 0;
    u32: |bits| (bits & 0xffff_ffff) as u32;
    u64: |bits| bits;
}

/// A region in a static: set in `init`, read by handlers.
#[derive(Debug)]
pub struct RegionCell(SpanCell);

impl RegionCell {
    /// No region yet.
    pub const fn new() -> Self {
        Self(SpanCell::new())
    }

    /// The region; `None` before one was set.
    #[inline]
    pub fn get(&'static self) -> Option<Region> {
        self.0.get().map(Region)
    }

    /// Remembers a region. The first one stays: regions are fixed at load time.
    pub fn set(&'static self, region: Region) {
        self.0.set(region.0);
    }
}

impl Default for RegionCell {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    static NUMBER: Global<u32> = Global::<u32>::new(7);
    static FLAG: Global<bool> = Global::<bool>::new(true);
    static REGION: RegionCell = RegionCell::new();

    #[test]
    fn statics_keep_what_was_set_and_each_thread_has_its_own() {
        assert_eq!((NUMBER.get(), FLAG.get()), (7, true));
        NUMBER.set(u32::MAX);
        FLAG.set(false);
        assert_eq!((NUMBER.get(), FLAG.get()), (u32::MAX, false));
        std::thread::spawn(|| assert_eq!((NUMBER.get(), FLAG.get()), (7, true))).join().unwrap();
    }

    #[test]
    fn the_first_region_stays() {
        assert!(REGION.get().is_none());
        let first = testing::region(16);
        first.set_u8(3, 5);
        REGION.set(first);
        REGION.set(testing::region(32));
        let kept = REGION.get().unwrap();
        assert_eq!((kept.length(), kept.u8_at(3)), (16, 5));
    }
}
