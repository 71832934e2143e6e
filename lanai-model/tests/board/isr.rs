//! The ISR: who sets and clears which bit, when a change shows, and accesses to parts of registers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::common::{TestBoard, board, get, has, register, running, set, us};
use lanai_model::board::control;
use lanai_model::cpu::{Isa, Width};
use lanai_model::object::assemble;
use lanai_model::registers::{self, isr};
use lanai_model::time::Time;

/// A board of lanai4 that runs this text from address 0.
fn firmware(text: &str) -> TestBoard {
    running(Isa::Lanai4, &assemble(text, 0).unwrap().words)
}

/// The offset of a register in the host's view.
fn bar(name: &str) -> u32 {
    0x0C_0000 + register(name)
}

const END: &str = "\nend: bt end\nnop";

#[test]
fn ones_that_the_host_writes_clear_but_for_what_it_calls_with() {
    let mut board = board();
    set(&mut board, "IT", 0);
    board.control(control::WAKE);
    board.advance(us(1));
    assert!(has(&board, isr::TIME_INT | isr::WAKE_INT | isr::DMA_INT));
    set(&mut board, "ISR", isr::TIME_INT);
    assert_eq!(board.isr() & (isr::TIME_INT | isr::WAKE_INT), isr::WAKE_INT);
    set(&mut board, "ISR", u32::MAX);
    let calls = isr::LAN_SIG | isr::DBG;
    assert_eq!(board.isr(), calls | isr::SEND_INT | isr::SEND_RDY, "levels stay, calls are set");
    set(&mut board, "ISR", 0);
    assert!(has(&board, calls), "zeros do nothing");
}

#[test]
fn all_ones_from_the_processor_clear_all_and_call_the_host() {
    // As firmware does when it starts: "clear all status bits".
    let mut board = firmware(&format!("mov 0xffffffff, %isr\nnop{END}"));
    set(&mut board, "ISR", isr::LAN_SIG);
    board.control(control::WAKE);
    assert!(has(&board, isr::LAN_SIG | isr::WAKE_INT | isr::DMA_INT));
    board.advance(us(1));
    assert_eq!(board.isr(), isr::HOST_SIG | isr::SEND_INT | isr::SEND_RDY);
    assert_eq!(board.cpu().isr(), board.isr());
}

#[test]
fn a_byte_written_to_the_isr_does_not_write_an_earlier_one_again() {
    let mut board = firmware(&format!("mov 0x40000000, %isr\nnop\nnop{END}"));
    board.run_until(Time::from_ns(200));
    set(&mut board, "ISR", isr::HOST_SIG);
    assert!(!has(&board, isr::HOST_SIG));
    // The firmware calls again; the host answers with LAN0_SIG only, in one byte.
    board.control(control::RESET_ON);
    board.control(control::RESET_OFF);
    board.advance(us(1));
    let _ = board.host_write(bar("ISR") + 1, Width::Byte, 1);
    assert!(has(&board, isr::HOST_SIG | isr::LAN0_SIG));
    let _ = board.host_write(bar("ISR"), Width::Half, isr::HOST_SIG >> 16);
    assert!(!has(&board, isr::HOST_SIG) && has(&board, isr::LAN0_SIG));
}

#[test]
fn each_of_two_register_writes_in_a_row_shows_one_instruction_after_it() {
    // r10 and r11 are the ISR one and two instructions after the send is started; the store between touches another register.
    let text =
        "mov 0x40, %r5\nst %r5, [SMLT]\nst %r0, [LED]\nor %isr, 0x0, %r10\nor %isr, 0x0, %r11";
    let mut board = firmware(&format!("{text}{END}"));
    board.advance(us(1));
    assert_eq!(board.cpu().register(10) & isr::SEND_INT, 0, "the second store was the barrier");
    assert_eq!(board.cpu().register(11) & isr::SEND_INT, 0);
    let text =
        "mov 0x40, %r5\nst %r5, [SMLT]\nst %r5, [DMA_CTR]\nor %isr, 0x0, %r10\nor %isr, 0x0, %r11";
    let mut board = firmware(&format!("{text}{END}"));
    board.advance(us(1));
    let seen = [10, 11].map(|n| board.cpu().register(n) & (isr::SEND_INT | isr::DMA_INT));
    assert_eq!(seen, [isr::DMA_INT, 0], "the second change is still to come when the first shows");
}

#[test]
fn firmware_that_reads_dma_ctr_in_a_loop_sees_dma_int_and_then_nothing_left() {
    let text = "mov 0x4, %r5\nst %r5, [DMA_CTR]\nnop\nloop: ld [DMA_CTR], %r6\nand.f %isr, 0xffff0010, %r0\nbeq loop\nnop\nld [DMA_CTR], %r6\nld [RTC], %r7";
    let mut board = firmware(&format!("{text}{END}"));
    board.advance(us(3));
    // 1 us and 4 bytes at 110 MB/s: in the third tick.
    assert_eq!((board.cpu().register(7), board.cpu().register(6)), (2, 0));
}

#[test]
fn bytes_and_halves_of_registers_are_at_their_big_endian_places() {
    let text = "uld.b [EAR], %r10\nuld.h -194[%r0], %r11\nmov 0xab, %r12\nst.b %r12, -195[%r0]\nld [EAR], %r13\nnop";
    let mut board = firmware(&format!("{text}{END}"));
    set(&mut board, "EAR", 0x1122_3344);
    board.advance(us(1));
    let found = [10, 11, 13].map(|n| board.cpu().register(n));
    assert_eq!(found, [0x11, 0x3344, 0x11AB_3344]);
    assert_eq!(board.host_read(bar("EAR") + 1, Width::Byte), 0xAB);
    assert_eq!(board.host_read(bar("EAR") + 2, Width::Half), 0x3344);
    let _ = board.host_write(bar("EAR"), Width::Half, 0x7788);
    assert_eq!(get(&mut board, "EAR"), 0x7788_3344);
}

#[test]
fn firmware_polls_bytes_as_a_byte_at_rbs_own_address_and_sees_the_tail() {
    // As Cplant's consume(): BYTE_RDY, a byte from RB, one no-operation, TAIL_INT.
    let text = "
        mov     0x400, %r5
next:   and.f   %isr, 0xffff0001, %r0
        beq     next
        nop
        uld.b   [RB], %r6
        nop
        st.b    %r6, [%r5++]
        and.f   %isr, 0xffff0080, %r0
        beq     next
        nop
        st      %r5, [0x500]";
    let mut board = firmware(&format!("{text}{END}"));
    set(&mut board, "MYRINET", registers::CRC_ENABLE);
    board.link_mut().inject(us(1), &[0x91, 0x92, 0x93, 0x94, 0x95]);
    board.advance(us(20));
    assert_eq!(board.sram().slice(0x400, 7).unwrap(), [0x91, 0x92, 0x93, 0x94, 0x95, 0, 0]);
    assert_eq!(board.sram().word(0x500), Some(0x406), "five bytes and the CRC");
    assert_eq!(board.counters().empty_reads, 0);
}

#[test]
fn polled_words_and_halves_and_sends_of_any_width() {
    let text = "
wait:   and.f   %isr, 0xffff8000, %r0
        beq     wait
        mov     0x11, %r5
        ld      [RW], %r10
        uld.h   [RH], %r11
        ld.b    [RB], %r12
        mov     0x2233, %r6
        st      %r5, [SB]
        st.h    %r6, [SH]
        st.b    %r5, [SB]
        st      %r0, [ST]";
    let mut board = firmware(&format!("{text}{END}"));
    board.link_mut().inject_raw(us(1), &[1, 2, 3, 4, 5, 6, 0xF7]);
    board.advance(us(5));
    let found = [10, 11, 12].map(|n| board.cpu().register(n));
    assert_eq!(found, [0x0102_0304, 0x0506, 0xFFFF_FFF7]);
    assert_eq!(board.link_mut().take().unwrap().payload(), [0x11, 0x22, 0x33, 0x11]);
    // The same from the host: the item at its own offset, as a word or as wide as it is.
    board.link_mut().inject_raw(us(5), &[1, 2, 3, 4]);
    board.advance(us(1));
    assert_eq!(board.host_read(bar("RB"), Width::Byte), 1);
    assert_eq!(board.host_read(bar("RB"), Width::Word), 2);
    assert_eq!(board.host_read(bar("RH"), Width::Half), 0x0304);
    let _ = board.host_write(bar("SB"), Width::Byte, 0x55);
    set(&mut board, "ST", 0);
    assert_eq!(board.link_mut().take().unwrap().payload(), [0x55]);
}
