//! The board as its host sees it over PCI.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::common::asm::{NOP, R4, R5, branch, load_word, or_low, store};
use crate::common::{TestBoard, board_with, has, us};
use lanai_model::board::{HostWrite, MapRegion, control};
use lanai_model::config::{Config, SramSize};
use lanai_model::cpu::{Isa, Width};
use lanai_model::registers::isr;
use lanai_model::time::Time;

fn sized(sram: SramSize) -> TestBoard {
    board_with(Config { sram, ..Config::default() })
}

#[test]
fn the_memory_map_of_each_board() {
    use MapRegion::{Control, Eeprom, Nothing, Register, Sram};
    let cases = [
        (SramSize::M1, 0x0, Nothing),
        (SramSize::M1, 0x0_80000, Eeprom),
        (SramSize::M1, 0x0_C0044, Register(0x44)),
        (SramSize::M1, 0x0_C0144, Register(0x44)),
        (SramSize::M1, 0x0_E0000, Control),
        (SramSize::M1, 0x1_00000, Sram(0)),
        (SramSize::M1, 0x1_FFFFF, Sram(0xFFFFF)),
        (SramSize::M1, 0x2_00000, Nothing),
        (SramSize::M1, 0x8_08000, Nothing),
        (SramSize::K512, 0x0, Sram(0)),
        (SramSize::K512, 0x0_7FFFF, Sram(0x7FFFF)),
        (SramSize::K512, 0x0_80000, Eeprom),
        (SramSize::K256, 0x0_40000, Nothing),
        (SramSize::K256, 0x0_C0000, Register(0)),
        (SramSize::K256, 0x0_E0000, Control),
        (SramSize::K256, 0x1_00000, Nothing),
    ];
    for (size, offset, expected) in cases {
        assert_eq!(sized(size).map(offset), expected, "{size:?} {offset:#x}");
    }
}

#[test]
fn sram_takes_8_16_and_32_bits_in_reset_and_bytes_keep_their_place() {
    let mut board = sized(SramSize::M1);
    let at = 0x10_0100;
    assert_eq!(board.host_write(at, Width::Word, 0x1122_3344), HostWrite::Done);
    assert_eq!(board.host_write(at + 1, Width::Byte, 0xAA), HostWrite::Done);
    assert_eq!(board.host_write(at + 2, Width::Half, 0xBBCC), HostWrite::Done);
    assert_eq!(board.host_read(at, Width::Word), 0x11AA_BBCC);
    assert_eq!(board.host_read(at, Width::Byte), 0x11, "big-endian: the high byte comes first");
    assert_eq!(board.host_read(at + 2, Width::Half), 0xBBCC);
    assert_eq!(board.sram().slice(0x100, 4).unwrap(), [0x11, 0xAA, 0xBB, 0xCC]);
    assert_eq!(
        board.host_read(at + 3, Width::Word),
        0x11AA_BBCC,
        "low bits of an address do not count"
    );
}

#[test]
fn host_and_processor_see_the_same_memory_while_it_runs() {
    let config = Config { sram: SramSize::M1, isa: Isa::V11, ..Config::default() };
    let mut board = board_with(config);
    // Copies the word at 0x200 to 0x204 for ever.
    for (n, word) in (0..).zip([load_word(R4, 0, 0x200), store(R4, 0, 0x204), branch(0), NOP]) {
        let _ = board.host_write(0x10_0000 + 4 * n, Width::Word, word);
    }
    let _ = board.host_write(0x0E_0000, Width::Word, control::RESET_OFF);
    for value in [1, 0xFFFF_0000, 77] {
        let _ = board.host_write(0x10_0200, Width::Word, value);
        board.advance(us(1));
        assert_eq!(board.host_read(0x10_0204, Width::Word), value);
    }
}

#[test]
fn the_control_register_turns_reset_on_and_off() {
    let mut board = sized(SramSize::M1);
    assert!(board.in_reset());
    board.advance(us(10));
    assert_eq!(board.instructions(), 0);
    board.control(control::RESET_OFF);
    board.advance(us(10));
    let ran = board.instructions();
    assert!(ran > 300);
    board.control(control::RESET_ON);
    board.advance(us(10));
    assert_eq!(board.instructions(), ran);
    assert_eq!(board.cpu().pc(), 0);
    assert_eq!(board.now(), us(30));
}

#[test]
fn reset_forgets_registers_and_engines_but_not_memory() {
    let mut board = sized(SramSize::M1);
    board.sram_mut().store(0x40, Width::Word, 7);
    board.control(control::RESET_OFF | control::WAKE);
    board.write_register(0x48, 0x1234);
    board.write_register(0x44, 5000);
    board.control(control::RESET_ON);
    assert!(!has(&board, isr::WAKE_INT) && has(&board, isr::DMA_INT));
    assert_eq!(board.read_register(0x44), 0);
    assert_eq!(board.read_register(0x34), 0);
    assert_eq!(board.sram().word(0x40), Some(7));
}

#[test]
fn interrupts_need_eimr_the_enable_and_a_bit() {
    let mut board = sized(SramSize::M1);
    let _ = board.host_write(0x0C_0028, Width::Word, isr::LAN0_SIG);
    assert!(!board.host().interrupted());
    let _ = board.host_write(0x0C_002C, Width::Word, isr::LAN0_SIG);
    assert!(!board.host().interrupted());
    let _ = board.host_write(0x0E_0000, Width::Word, control::INTERRUPT_ENABLE);
    assert!(board.host().interrupted());
    assert_eq!(board.control_state(), control::RESET_ON | control::INTERRUPT_ENABLE);
    let _ = board.host_write(0x0E_0000, Width::Word, control::INTERRUPT_DISABLE);
    assert!(!board.host().interrupted());
    assert_eq!(board.host().interrupts(), 1);
}

#[test]
fn wake_and_a_byte_write_to_the_control_register() {
    let mut board = sized(SramSize::M1);
    let _ = board.host_write(0x0E_0000, Width::Byte, control::WAKE >> 24);
    assert!(has(&board, isr::WAKE_INT));
    assert_eq!(
        board.host_read(0x0E_0000, Width::Byte),
        control::RESET_ON >> 24 | control::INTERRUPT_DISABLE >> 24
    );
}

#[test]
fn nothing_reads_as_ones_and_is_counted_and_the_eeprom_ignores_writes() {
    let mut board = sized(SramSize::K256);
    assert_eq!(board.host_read(0x70_0000, Width::Half), 0xFFFF);
    assert_eq!(board.host_write(0x70_0000, Width::Word, 1), HostWrite::Nowhere);
    assert_eq!(board.counters().outside, 2);
    assert_eq!(board.host_write(0x08_0000, Width::Word, 1), HostWrite::Done);
    assert_eq!(board.host_read(0x08_0000, Width::Word), u32::MAX);
    assert_eq!(board.counters().outside, 2);
}

#[test]
fn programmed_io_costs_what_pci_costs() {
    let mut board = sized(SramSize::M1);
    let _ = board.pio_read(0x10_0000, Width::Word);
    assert_eq!(board.now(), Time::from_ns(420));
    let _ = board.pio_write(0x10_0000, Width::Word, 1);
    assert_eq!(board.now(), Time::from_ns(540));
}

#[test]
fn the_host_reads_a_mailbox_that_firmware_left_in_smp() {
    let config = Config { sram: SramSize::K256, isa: Isa::Lanai4, ..Config::default() };
    let mut board = board_with(config);
    let words = [or_low(R5, 0, 0x1230), store(R5, 0, 0x50 - 0x100), branch(8), NOP];
    crate::common::load(&mut board, 0, &words);
    board.control(control::RESET_OFF);
    board.advance(us(1));
    assert_eq!(board.host_read(0x0C_0050, Width::Word), 0x1230);
}
