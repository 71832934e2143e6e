//! Points in time, as everything on an adapter names them.
//!
//! Only the unit is here: which clock tells it is the business of whoever runs the adapter.

/// Nanoseconds since the clock that told it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    /// Nanoseconds from `earlier` to here, zero if it is later.
    #[inline]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
