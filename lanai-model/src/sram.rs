//! The board's memory: one array of bytes, big-endian.
//!
//! The processor, the three engines and the host all see the same bytes at the same offsets. Only what lies wholly inside
//! is there: every access outside answers `None` or `false`, and the caller counts it.

use crate::cpu::Width;

/// The memory of one board.
#[derive(Clone, Debug)]
pub struct Sram {
    bytes: Box<[u8]>,
}

impl Sram {
    /// `size` bytes of zeros.
    #[must_use]
    pub fn new(size: u32) -> Self {
        Self { bytes: vec![0; size as usize].into_boxed_slice() }
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `length` bytes at `address`, if they are inside.
    #[must_use]
    pub fn slice(&self, address: u32, length: u32) -> Option<&[u8]> {
        let start = address as usize;
        self.bytes.get(start..start.checked_add(length as usize)?)
    }

    /// The same, to write.
    pub fn slice_mut(&mut self, address: u32, length: u32) -> Option<&mut [u8]> {
        let start = address as usize;
        self.bytes.get_mut(start..start.checked_add(length as usize)?)
    }

    /// The word at `address`.
    #[inline]
    #[must_use]
    pub fn word(&self, address: u32) -> Option<u32> {
        let bytes = self.bytes.get(address as usize..)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*bytes))
    }

    /// What is at `address`, big-endian, in the low bits.
    #[inline]
    #[must_use]
    pub fn load(&self, address: u32, width: Width) -> Option<u32> {
        match width {
            Width::Word => self.word(address),
            Width::Half => {
                let bytes = self.bytes.get(address as usize..)?.first_chunk::<2>()?;
                Some(u32::from(u16::from_be_bytes(*bytes)))
            }
            Width::Byte => self.bytes.get(address as usize).map(|&byte| u32::from(byte)),
        }
    }

    /// Writes the low bits of `value` at `address`; false if that is outside.
    #[inline]
    pub fn store(&mut self, address: u32, width: Width, value: u32) -> bool {
        let [_, _, high, low] = value.to_be_bytes();
        let size = match width {
            Width::Word => 4,
            Width::Half => 2,
            Width::Byte => 1,
        };
        let Some(place) = self.slice_mut(address, size) else { return false };
        match width {
            Width::Word => place.copy_from_slice(&value.to_be_bytes()),
            Width::Half => place.copy_from_slice(&[high, low]),
            Width::Byte => place.copy_from_slice(&[low]),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::Sram;
    use crate::cpu::Width;

    #[test]
    fn bytes_halves_and_words_are_big_endian() {
        let mut sram = Sram::new(16);
        assert!(sram.store(4, Width::Word, 0x1122_3344));
        assert!(sram.store(6, Width::Half, 0xFFFF_AABB));
        assert!(sram.store(5, Width::Byte, 0x99));
        assert_eq!(sram.load(4, Width::Word), Some(0x1199_AABB));
        assert_eq!(sram.load(6, Width::Half), Some(0xAABB));
        assert_eq!(sram.load(4, Width::Byte), Some(0x11));
    }

    #[test]
    fn nothing_is_outside() {
        let mut sram = Sram::new(16);
        assert_eq!(sram.load(16, Width::Byte), None);
        assert_eq!(sram.load(14, Width::Word), None);
        assert!(!sram.store(u32::MAX, Width::Half, 1));
        assert!(sram.slice(8, u32::MAX).is_none());
        assert!(sram.slice(0, 16).is_some());
    }
}
