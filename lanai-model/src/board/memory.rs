//! The processor's bus: SRAM below, special registers at the top, nothing between.

use super::card::Card;
use crate::bus::HostBus;
use crate::cpu::{Memory, Width};
use crate::link::Link;
use crate::registers::{BASE, offset};
use crate::time::Time;
use crate::trace::Who;

impl<H: HostBus, L: Link> Memory for Card<H, L> {
    #[inline]
    fn fetch(&mut self, address: u32) -> u32 {
        self.shared.arbiter.processor();
        self.instructions += 1;
        self.fetched = true;
        match self.shared.sram.word(address) {
            Some(word) => word,
            None => self.nothing(address),
        }
    }

    #[inline]
    fn load(&mut self, address: u32, width: Width) -> u32 {
        self.shared.arbiter.processor();
        match self.shared.sram.load(address, width) {
            Some(value) => value,
            None if address >= BASE => self.load_register(address, width),
            None => self.nothing(address),
        }
    }

    #[inline]
    fn store(&mut self, address: u32, width: Width, value: u32) {
        self.shared.arbiter.processor();
        if !self.shared.sram.store(address, width, value) {
            if address >= BASE {
                self.store_register(address, width, value);
            } else {
                self.nothing(address);
            }
        }
    }

    #[inline]
    fn take_wait_cycles(&mut self) -> u32 {
        self.shared.arbiter.take_waits()
    }

    fn isr_write(&mut self, _isr: u32, value: u32) -> u32 {
        self.processor_writes_isr(value)
    }

    #[inline]
    fn elapsed(&mut self, cycles: u32) -> bool {
        self.cycle += u64::from(cycles);
        // A processor that fetches nothing has stopped at a word it does not know.
        let fetched = std::mem::replace(&mut self.fetched, false);
        self.settled() || !fetched || self.cycle >= self.deadline
    }
}

impl<H: HostBus, L: Link> Card<H, L> {
    #[cold]
    fn nothing(&mut self, address: u32) -> u32 {
        let now = self.now();
        self.shared.outside(now, address);
        0
    }

    #[cold]
    fn load_register(&mut self, address: u32, width: Width) -> u32 {
        let now = self.now();
        self.read_part(now, address - BASE, width)
    }

    #[cold]
    fn store_register(&mut self, address: u32, width: Width, value: u32) {
        let now = self.now();
        let word = self.merge(address - BASE, width, value);
        self.write_register(now, Who::Processor, address - BASE, word);
    }

    /// What a read of `width` at `offset` sees of the register there, with what reading it does.
    pub(super) fn read_part(&mut self, now: Time, offset: u32, width: Width) -> u32 {
        let word = self.read_register(now, offset);
        if is_port(offset) { word } else { extract(word, offset, width) }
    }

    /// The word that a write of `width` at `offset` makes of what was last written there.
    pub(super) fn merge(&self, offset: u32, width: Width, value: u32) -> u32 {
        let (mask, shift) = lane(offset, width);
        match offset & !3 {
            _ if is_port(offset) => value & mask,
            // Every one does something: those of an earlier write must not do it again.
            offset::ISR => (value & mask) << shift,
            _ => (self.register(offset) & !(mask << shift)) | ((value & mask) << shift),
        }
    }
}

/// Whether the register at `offset` moves one item to or from the link.
///
/// Firmware reads RB as a byte and RH as a half word at their own offsets, and writes SB and SH as words (SRC Cplant): the
/// item is what is moved, however wide the access is and at whatever byte of the register.
fn is_port(offset: u32) -> bool {
    matches!(
        offset & !3,
        offset::RB | offset::RH | offset::RW | offset::SB | offset::SH | offset::SW | offset::ST
    )
}

/// The part of a big-endian `word` that a read of `width` at `address` sees.
pub(super) fn extract(word: u32, address: u32, width: Width) -> u32 {
    let (mask, shift) = lane(address, width);
    (word >> shift) & mask
}

fn lane(address: u32, width: Width) -> (u32, u32) {
    match width {
        Width::Byte => (0xFF, 8 * (3 - (address & 3))),
        Width::Half => (0xFFFF, 8 * (2 - (address & 2))),
        Width::Word => (u32::MAX, 0),
    }
}
