//! A region for tests: zeroed words on the heap.

use alloc::boxed::Box;
use core::cell::Cell;

use crate::{Load, Store, layout};

pub(crate) struct Memory(Box<[Cell<u32>]>);

impl Memory {
    pub(crate) fn new() -> Self {
        Self((0..layout::REGION_BYTES / 4).map(|_| Cell::new(0)).collect())
    }

    fn word(&self, offset: usize) -> Option<&Cell<u32>> {
        self.0.get(offset / 4)
    }

    fn part(&self, offset: usize, size: usize) -> u32 {
        assert!(offset.is_multiple_of(size), "offset {offset} is not aligned to {size}");
        self.word(offset).map_or(0, |word| word.get() >> (offset % 4 * 8))
    }

    fn set_part(&self, offset: usize, size: usize, value: u32, mask: u32) {
        assert!(offset.is_multiple_of(size), "offset {offset} is not aligned to {size}");
        let shift = offset % 4 * 8;
        let word = self.word(offset).expect("writers stay inside");
        word.set(word.get() & !(mask << shift) | (value << shift));
    }
}

impl Load for Memory {
    fn u8_at(&self, offset: usize) -> u8 {
        self.part(offset, 1).to_le_bytes()[0]
    }
    fn u16_at(&self, offset: usize) -> u16 {
        let [low, high, ..] = self.part(offset, 2).to_le_bytes();
        u16::from_le_bytes([low, high])
    }
    fn u32_at(&self, offset: usize) -> u32 {
        self.part(offset, 4)
    }
}

impl Store for Memory {
    fn set_u8(&self, offset: usize, value: u8) {
        self.set_part(offset, 1, value.into(), 0xff);
    }
    fn set_u16(&self, offset: usize, value: u16) {
        self.set_part(offset, 2, value.into(), 0xffff);
    }
    fn set_u32(&self, offset: usize, value: u32) {
        self.set_part(offset, 4, value, u32::MAX);
    }
}
