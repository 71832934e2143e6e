//! The board as its host sees it over PCI: one memory map, one control register.
//!
//! ```text
//!              256 and 512 KB boards      1 MB board
//!   0x000000   SRAM
//!   0x080000   EEPROM (reads as ones)     EEPROM (reads as ones)
//!   0x0C0000   special registers          special registers
//!   0x0E0000   control register           control register
//!   0x100000                              SRAM
//!   0x808000   doorbell region, with the hardware FIFO of section 7 only
//! ```
//!
//! (SRC MyrinetPCI.h, for the 1 MB board and for SRAM at 0; the other places on small boards are taken to be the same, DER)
//!
//! **Byte order.** The board is big-endian and PCI is not. What stays the same is the place of each byte: the byte at SRAM
//! offset n is the byte at PCI offset n. A word here is the value the LANai has, that is what a little-endian host gets after
//! its `ntohl`; so are registers and control. (DER)
//!
//! Accesses here take no time; [`Board::pio_read`] and [`Board::pio_write`] charge the host what PCI costs it.

use super::memory::extract;
use super::{Board, Who};
use crate::bus::HostBus;
use crate::config::SramSize;
use crate::cpu::Width;
use crate::extra::fifo::{REGION, REGION_END, Ring};
use crate::link::Link;
use crate::registers::{SIZE, isr, offset};

/// Bits of the control register. (SRC MyrinetPCI.h)
pub mod control {
    /// Lets the processor run.
    pub const RESET_OFF: u32 = 1 << 31;
    /// Holds the processor in reset.
    pub const RESET_ON: u32 = 1 << 30;
    /// Lets ISR & EIMR interrupt the host.
    pub const INTERRUPT_ENABLE: u32 = 1 << 29;
    /// Keeps the interrupt line down.
    pub const INTERRUPT_DISABLE: u32 = 1 << 28;
    /// Raises WAKE_INT.
    pub const WAKE: u32 = 1 << 27;
}

/// What is at a PCI offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapRegion {
    /// The memory, at this address.
    Sram(u32),
    /// The special registers, at this offset.
    Register(u32),
    /// The control register.
    Control,
    /// The EEPROM.
    Eeprom,
    /// The doorbell region, at this offset.
    Doorbell(u32),
    /// Nothing.
    Nothing,
}

/// How a host write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum HostWrite {
    /// Taken.
    Done,
    /// Nothing is there.
    Nowhere,
    /// The hardware FIFO is full or off: the host has to try again.
    Retry,
}

impl<H: HostBus, L: Link> Board<H, L> {
    /// What is at PCI offset `offset` from the board's base.
    #[must_use]
    pub fn map(&self, offset: u32) -> MapRegion {
        let large = self.card.config.sram == SramSize::M1;
        let base = if large { 0x10_0000 } else { 0 };
        let size = self.card.config.sram.bytes();
        match offset {
            o if o >= base && o - base < size => MapRegion::Sram(o - base),
            0x08_0000..=0x0B_FFFF => MapRegion::Eeprom,
            0x0C_0000..=0x0D_FFFF => MapRegion::Register(offset % SIZE),
            0x0E_0000..=0x0F_FFFF => MapRegion::Control,
            REGION..REGION_END if self.card.config.extra.hardware_fifo => {
                MapRegion::Doorbell(offset - REGION)
            }
            _ => MapRegion::Nothing,
        }
    }

    /// The host reads `width` at PCI offset `offset` (its low bits cleared to fit); nothing reads as ones.
    pub fn host_read(&mut self, offset: u32, width: Width) -> u32 {
        let offset = aligned(offset, width);
        match self.map(offset) {
            MapRegion::Sram(address) => self.card.shared.sram.load(address, width).unwrap_or(0),
            MapRegion::Register(register) => {
                let value = self.card.read_part(self.now, register, width);
                self.card.publish(self.now);
                self.sync();
                value
            }
            MapRegion::Control => extract(self.control_state(), offset, width),
            MapRegion::Eeprom => extract(u32::MAX, offset, width),
            MapRegion::Doorbell(_) => 0,
            MapRegion::Nothing => {
                self.card.shared.outside(self.now, offset);
                extract(u32::MAX, offset, width)
            }
        }
    }

    /// The host writes the low `width` bits of `value` at PCI offset `offset` (its low bits cleared to fit).
    pub fn host_write(&mut self, offset: u32, width: Width, value: u32) -> HostWrite {
        let offset = aligned(offset, width);
        match self.map(offset) {
            MapRegion::Sram(address) => {
                self.card.shared.sram.store(address, width, value);
                HostWrite::Done
            }
            MapRegion::Register(register) => {
                let word = self.card.merge(register, width, value);
                self.write_register(register, word);
                HostWrite::Done
            }
            MapRegion::Control => {
                let shift = 8 * (4 - (offset & 3) - bytes(width));
                self.control((value & mask(width)) << shift);
                HostWrite::Done
            }
            MapRegion::Eeprom => HostWrite::Done,
            MapRegion::Doorbell(at) => self.doorbell(at, value & mask(width)),
            MapRegion::Nothing => {
                self.card.shared.outside(self.now, offset);
                HostWrite::Nowhere
            }
        }
    }

    /// [`Board::host_read`], after the time that PCI takes for it.
    pub fn pio_read(&mut self, offset: u32, width: Width) -> u32 {
        self.advance(self.card.config.pio_read);
        self.host_read(offset, width)
    }

    /// [`Board::host_write`], after the time that PCI takes for it.
    pub fn pio_write(&mut self, offset: u32, width: Width, value: u32) -> HostWrite {
        self.advance(self.card.config.pio_write);
        self.host_write(offset, width, value)
    }

    /// The host reads the special register at `offset`, with what reading it does.
    pub fn read_register(&mut self, offset: u32) -> u32 {
        let value = self.card.read_register(self.now, offset);
        self.card.publish(self.now);
        self.sync();
        value
    }

    /// The host writes the special register at `offset`, with what that does.
    pub fn write_register(&mut self, offset: u32, value: u32) {
        self.card.write_register(self.now, Who::Host, offset, value);
        self.sync();
    }

    /// The host writes the control register: every bit that is one does what it says, in the order of [`control`].
    pub fn control(&mut self, value: u32) {
        if value & control::RESET_OFF != 0 {
            self.set_reset(false);
        }
        if value & control::RESET_ON != 0 {
            self.set_reset(true);
        }
        if value & control::INTERRUPT_ENABLE != 0 {
            self.card.interrupts_enabled = true;
        }
        if value & control::INTERRUPT_DISABLE != 0 {
            self.card.interrupts_enabled = false;
        }
        if value & control::WAKE != 0 {
            self.card.raise(isr::WAKE_INT);
            self.card.publish(self.now);
        }
        self.card.drive_line(self.now);
        self.sync();
    }

    /// The control register as it reads: which of each pair holds. (DER)
    #[must_use]
    pub fn control_state(&self) -> u32 {
        let reset = if self.in_reset { control::RESET_ON } else { control::RESET_OFF };
        let interrupts = if self.card.interrupts_enabled {
            control::INTERRUPT_ENABLE
        } else {
            control::INTERRUPT_DISABLE
        };
        reset | interrupts
    }

    /// A write of `value` at `at` in the doorbell region.
    fn doorbell(&mut self, at: u32, value: u32) -> HostWrite {
        let card = &mut self.card;
        let ring = Ring {
            base: card.register(offset::FIFO_BASE),
            size: card.register(offset::FIFO_SIZE),
            put: card.register(offset::FIFO_PUT),
            get: card.register(offset::FIFO_GET),
        };
        let Some(put) = ring.put(self.now, at, value, &mut card.shared) else {
            card.shared.counters.fifo_full += 1;
            return HostWrite::Retry;
        };
        card.set_register(offset::FIFO_PUT, put);
        card.raise(1 << 23);
        card.publish(self.now);
        self.sync();
        HostWrite::Done
    }
}

fn bytes(width: Width) -> u32 {
    match width {
        Width::Byte => 1,
        Width::Half => 2,
        Width::Word => 4,
    }
}

fn mask(width: Width) -> u32 {
    match width {
        Width::Byte => 0xFF,
        Width::Half => 0xFFFF,
        Width::Word => u32::MAX,
    }
}

fn aligned(offset: u32, width: Width) -> u32 {
    offset & !(bytes(width) - 1)
}
