//! What the board's tests share: a board, a way to name registers, and the few instructions that test programs use.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use lanai_model::Board;
use lanai_model::board::control;
use lanai_model::bus::HostMemory;
use lanai_model::config::{Config, SramSize};
use lanai_model::cpu::{Isa, Width};
use lanai_model::link::Cable;
use lanai_model::registers::{self, isr};
use lanai_model::time::Time;

pub(crate) type TestBoard = Board<HostMemory, Cable>;

/// A small board in reset.
pub(crate) fn board() -> TestBoard {
    board_with(Config { sram: SramSize::K256, ..Config::default() })
}

pub(crate) fn board_with(config: Config) -> TestBoard {
    let cable = Cable::new(config.link_rate);
    Board::new(config, HostMemory::default(), cable)
}

/// A board that runs `words` from address 0.
pub(crate) fn running(isa: Isa, words: &[u32]) -> TestBoard {
    let mut board = board_with(Config { sram: SramSize::K256, isa, ..Config::default() });
    load(&mut board, 0, words);
    board.control(control::RESET_OFF);
    board
}

pub(crate) fn load(board: &mut TestBoard, address: u32, words: &[u32]) {
    for (address, &word) in (address..).step_by(4).zip(words) {
        assert!(board.sram_mut().store(address, Width::Word, word));
    }
}

pub(crate) fn register(name: &str) -> u32 {
    registers::by_name(name).unwrap()
}

pub(crate) fn set(board: &mut TestBoard, name: &str, value: u32) {
    board.write_register(register(name), value);
}

pub(crate) fn get(board: &mut TestBoard, name: &str) -> u32 {
    board.read_register(register(name))
}

/// Whether all of these ISR bits are set.
pub(crate) fn has(board: &TestBoard, bits: u32) -> bool {
    board.isr() & bits == bits
}

pub(crate) fn us(n: u64) -> Time {
    Time::from_us(n)
}

pub(crate) fn host_bytes(board: &TestBoard, address: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    board.host().peek(address, &mut bytes);
    bytes
}

pub(crate) fn sram_bytes(board: &TestBoard, address: u32, length: u32) -> Vec<u8> {
    board.sram().slice(address, length).unwrap().to_vec()
}

/// Bits of a received packet that is complete and a multiple of four long.
pub(crate) const WHOLE: u32 = isr::RECV_INT | isr::ORUN1 | isr::ORUN2;

/// Instructions that are the same words in both instruction sets.
pub(crate) mod asm {
    use super::registers;

    pub(crate) const NOP: u32 = 0x0000_0001;
    pub(crate) const R0: u32 = 0;
    pub(crate) const R4: u32 = 4;
    pub(crate) const R5: u32 = 5;
    pub(crate) const R6: u32 = 6;
    pub(crate) const ISR: u32 = 31;

    /// rd = rs | value.
    pub(crate) fn or_low(rd: u32, rs: u32, value: u32) -> u32 {
        0x5000_0000 | rd << 23 | rs << 18 | (value & 0xFFFF)
    }

    /// rd = rs | value << 16.
    pub(crate) fn or_high(rd: u32, rs: u32, value: u32) -> u32 {
        or_low(rd, rs, value) | 1 << 16
    }

    /// rd = rs & (0xFFFF0000 | value).
    pub(crate) fn and_low(rd: u32, rs: u32, value: u32) -> u32 {
        0x4000_0000 | rd << 23 | rs << 18 | (value & 0xFFFF)
    }

    /// rd = value, with flags.
    pub(crate) fn test_low(rd: u32, rs: u32, value: u32) -> u32 {
        and_low(rd, rs, value) | 1 << 17
    }

    /// Loads the word at rs + offset.
    pub(crate) fn load_word(rd: u32, rs: u32, offset: i16) -> u32 {
        0x8000_0000 | rd << 23 | rs << 18 | 1 << 17 | u32::from(offset as u16)
    }

    /// Stores rd at rs + offset.
    pub(crate) fn store(rd: u32, rs: u32, offset: i16) -> u32 {
        load_word(rd, rs, offset) | 0x1000_0000
    }

    /// Stores rd in the special register called `name`.
    pub(crate) fn store_register(rd: u32, name: &str) -> u32 {
        store(rd, R0, register_offset(name))
    }

    /// Loads the special register called `name`.
    pub(crate) fn load_register(rd: u32, name: &str) -> u32 {
        load_word(rd, R0, register_offset(name))
    }

    fn register_offset(name: &str) -> i16 {
        i16::try_from(registers::by_name(name).unwrap()).unwrap() - 0x100
    }

    /// Branches to `address`; one delay slot.
    pub(crate) fn branch(address: u32) -> u32 {
        0xE000_0000 | address
    }

    /// Branches to `address` if the last result was zero.
    pub(crate) fn branch_if_zero(address: u32) -> u32 {
        0xE600_0000 | address | 1
    }
}
