//! Buffer references: index and generation, never an address (SPINE 3.4).

/// Names a data buffer that the runtime manages, packed in 64 bits.
///
/// Holding one proves nothing: it is an allegation until the adapter has found the index in its
/// table, with the same generation, held by the extension that shows it. A stale one answers
/// [`ErrorCode::StaleBuffer`](crate::ErrorCode::StaleBuffer).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct BufferRef {
    /// Position in the adapter's buffer table.
    pub index: u32,
    /// How often that position has been handed out; zero in [`BufferRef::NONE`] only.
    pub generation: u32,
}

impl BufferRef {
    /// No buffer: what a small message carries.
    pub const NONE: Self = Self { index: 0, generation: 0 };

    /// Whether a buffer is named at all.
    #[inline]
    pub const fn is_some(self) -> bool {
        self.generation != 0
    }

    /// Index in the low, generation in the high half.
    #[inline]
    pub const fn to_bits(self) -> u64 {
        (self.index as u64) | ((self.generation as u64) << 32)
    }

    /// The inverse of [`to_bits`](Self::to_bits); any value is a reference, if only a wrong one.
    #[inline]
    pub const fn from_bits(bits: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = bits.to_le_bytes();
        Self {
            index: u32::from_le_bytes([a, b, c, d]),
            generation: u32::from_le_bytes([e, f, g, h]),
        }
    }
}
