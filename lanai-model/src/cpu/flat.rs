//! Memory and nothing else, for programs that need no board.

use super::{Memory, Width};

/// Bytes from address 0 on; beyond them everything reads as zero and stores are counted and lost.
#[derive(Clone, Debug, Default)]
pub struct FlatMemory {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Loads, stores and fetches beyond the end.
    pub outside: u64,
}

impl FlatMemory {
    /// `size` bytes of zeros.
    #[must_use]
    pub fn new(size: usize) -> FlatMemory {
        FlatMemory { bytes: vec![0; size], outside: 0 }
    }

    /// Copies `bytes` to `address`; what does not fit is counted and lost.
    pub fn write(&mut self, address: u32, bytes: &[u8]) {
        let start = address as usize;
        match start.checked_add(bytes.len()).and_then(|end| self.bytes.get_mut(start..end)) {
            Some(place) => place.copy_from_slice(bytes),
            None => self.outside += 1,
        }
    }

    /// Copies words, big-endian, to `address`.
    pub fn write_words(&mut self, address: u32, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        self.write(address, &bytes);
    }

    fn read<const N: usize>(&mut self, address: u32) -> [u8; N] {
        match self.bytes.get(address as usize..).and_then(<[u8]>::first_chunk) {
            Some(bytes) => *bytes,
            None => {
                self.outside += 1;
                [0; N]
            }
        }
    }
}

impl Memory for FlatMemory {
    #[inline]
    fn fetch(&mut self, address: u32) -> u32 {
        u32::from_be_bytes(self.read(address))
    }

    #[inline]
    fn load(&mut self, address: u32, width: Width) -> u32 {
        match width {
            Width::Byte => u8::from_be_bytes(self.read(address)).into(),
            Width::Half => u16::from_be_bytes(self.read(address)).into(),
            Width::Word => u32::from_be_bytes(self.read(address)),
        }
    }

    #[inline]
    fn store(&mut self, address: u32, width: Width, value: u32) {
        let bytes = value.to_be_bytes();
        match width {
            Width::Byte => self.write(address, &bytes[3..]),
            Width::Half => self.write(address, &bytes[2..]),
            Width::Word => self.write(address, &bytes),
        }
    }
}
