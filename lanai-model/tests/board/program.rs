//! Programs in words, on both instruction sets, with the engines beside them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::common::asm::*;
use crate::common::{TestBoard, has, host_bytes, load, running, us};
use lanai_model::board::control;
use lanai_model::cpu::{Isa, State};
use lanai_model::registers::{self, isr};
use lanai_model::time::Time;
use lanai_model::trace::{Event, Trace, Who};

const HOST: u32 = 0x1000_0000;
const DATA: u32 = 0x400;

/// Puts the ISR's low half, masked, into r5, with flags.
fn test_isr(isa: Isa, bits: u32) -> Vec<u32> {
    match isa {
        Isa::Lanai4 => vec![test_low(R5, ISR, bits)],
        Isa::V11 => vec![load_register(R6, "ISR"), test_low(R5, R6, bits)],
    }
}

fn raise_host_sig(isa: Isa) -> Vec<u32> {
    match isa {
        Isa::Lanai4 => vec![or_high(ISR, R0, 0x4000)],
        Isa::V11 => vec![or_high(R4, R0, 0x4000), store_register(R4, "ISR")],
    }
}

/// The address of the next word.
fn here(words: &[u32]) -> u32 {
    u32::try_from(words.len() * 4).unwrap()
}

/// Copies 256 bytes to the host, calls the host, and stays.
fn dma_and_call(isa: Isa) -> Vec<u32> {
    let mut words = vec![
        or_high(R4, R0, HOST >> 16),
        store_register(R4, "EAR"),
        or_low(R4, R0, DATA),
        store_register(R4, "LAR"),
        store_register(R0, "DMA_DIR"),
        or_low(R4, R0, 256),
        store_register(R4, "DMA_CTR"),
        NOP,
    ];
    let top = here(&words);
    words.extend(test_isr(isa, isr::DMA_INT));
    words.extend([branch_if_zero(top), NOP]);
    words.extend(raise_host_sig(isa));
    let end = here(&words);
    words.extend([branch(end), NOP]);
    words
}

fn dma_board(isa: Isa) -> TestBoard {
    let mut board = running(isa, &dma_and_call(isa));
    let data: Vec<u32> = (0..64).map(|n| 0xC0DE_0000 + n).collect();
    load(&mut board, DATA, &data);
    board
}

#[test]
fn a_program_dmas_to_the_host_and_calls_it_on_both_instruction_sets() {
    for isa in [Isa::V11, Isa::Lanai4] {
        let mut board = dma_board(isa);
        board.write_register(registers::offset::EIMR, isr::HOST_SIG);
        board.control(control::INTERRUPT_ENABLE);
        board.run_until(us(3));
        assert!(!has(&board, isr::HOST_SIG), "{isa:?}: 256 bytes take 3.3 us");
        board.run_until(us(5));
        assert_eq!(board.cpu().state(), State::Running, "{isa:?}");
        assert!(has(&board, isr::HOST_SIG | isr::DMA_INT), "{isa:?}");
        assert_eq!(host_bytes(&board, HOST + 252, 6), [0xC0, 0xDE, 0, 63, 0, 0]);
        assert!(board.host().interrupted() && board.host().interrupts() == 1);
        board.write_register(registers::offset::ISR, isr::HOST_SIG);
        assert!(!has(&board, isr::HOST_SIG) && !board.host().interrupted(), "acknowledged");
    }
}

#[test]
fn the_processor_runs_on_while_the_engine_moves_bytes() {
    let mut board = dma_board(Isa::Lanai4);
    board.set_trace(Trace::ring(64));
    board.run_until(us(5));
    let at = |wanted: fn(&Event) -> bool| {
        board.trace().entries().find(|e| wanted(&e.event)).map(|e| e.at).unwrap()
    };
    let start = at(|e| matches!(e, Event::DmaStart { .. }));
    let done = at(|e| matches!(e, Event::DmaDone));
    let called = at(|e| matches!(e, Event::Isr { set, .. } if set & isr::HOST_SIG != 0));
    // 1 us of start-up and 256 bytes at 110 MB/s, to the picosecond.
    assert_eq!(done - start, Time::from_ps(1_000_000 + 2_327_272));
    assert!(
        called > done && called - done < Time::from_ns(300),
        "seen by the next turn of the loop"
    );
    let cycles = board.cycles();
    assert!((160..180).contains(&cycles), "5 us at 33 MHz: {cycles}");
    assert!(board.instructions() > 100, "the loop turned while the engine worked");
}

#[test]
fn a_register_write_shows_in_the_isr_one_instruction_later() {
    // r5 and r6: the ISR right after DMA_CTR was written, and after one more instruction.
    let words = [
        or_low(R4, R0, 64),
        store_register(R4, "DMA_CTR"),
        or_low(R5, ISR, 0),
        or_low(R6, ISR, 0),
        branch(16),
        NOP,
    ];
    let mut board = running(Isa::Lanai4, &words);
    board.run_until(us(1));
    assert_eq!(board.cpu().register(5) & isr::DMA_INT, isr::DMA_INT, "still as before");
    assert_eq!(board.cpu().register(6) & isr::DMA_INT, 0);
}

#[test]
fn writing_r31_clears_bits_and_sets_host_sig() {
    let words = [or_high(ISR, R0, 0x4000), or_low(ISR, R0, 0x0410), branch(8), NOP];
    let mut board = running(Isa::Lanai4, &words);
    board.control(control::WAKE);
    assert!(has(&board, isr::WAKE_INT | isr::DMA_INT));
    board.run_until(us(1));
    assert!(has(&board, isr::HOST_SIG));
    assert!(!has(&board, isr::WAKE_INT) && !has(&board, isr::DMA_INT));
    assert!(has(&board, isr::SEND_INT), "follows its engine");
    assert_eq!(board.cpu().isr(), board.isr());
}

#[test]
fn the_real_time_clock_is_exact_to_the_instruction() {
    // Reads RTC twice, 33 instructions apart: two ticks at one cycle each, plus what loads cost.
    let mut words = vec![load_register(R4, "RTC")];
    words.extend([NOP; 40]);
    words.extend([load_register(R5, "RTC"), branch(42 * 4), NOP]);
    let mut board = running(Isa::Lanai4, &words);
    board.run_until(us(5));
    let ticks = board.cpu().register(5) - board.cpu().register(4);
    assert!((2..=3).contains(&ticks), "{ticks}");
}

#[test]
fn the_user_context_is_interrupted_by_an_engine() {
    // System: r4 of the user context is r27 here; START: IMR = DMA_INT, APC = 0x80, punt; back in system: store r0 - 1.
    let mut words = vec![
        or_low(30, R0, isr::DMA_INT),
        or_low(ISR, R0, isr::DMA_INT),
        or_low(29, R0, 0x80),
        0xF003_FF47,
        NOP,
        NOP,
        or_low(R4, R0, 0xBEEF),
        store(R4, R0, 0x700),
    ];
    words.extend([branch(32), NOP]);
    let mut board = running(Isa::Lanai4, &words);
    load(&mut board, 0x80, &[or_low(R5, R0, 64), store_register(R5, "DMA_CTR"), branch(0x88), NOP]);
    board.run_until(us(1));
    assert_eq!(board.sram().word(0x700), Some(0), "the user context runs");
    board.run_until(us(5));
    assert_eq!(board.sram().word(0x700), Some(0xBEEF), "{:?}", board.cpu());
}

#[test]
fn addresses_outside_are_defined_and_counted() {
    let words = [
        or_high(R4, R0, 0x0010),
        or_low(R5, R0, 0x1234),
        store(R5, R4, 0),
        load_word(R5, R4, 0),
        NOP,
        NOP,
        store(R5, R0, 0x100),
        branch(28),
        NOP,
    ];
    let mut board = running(Isa::Lanai4, &words);
    load(&mut board, 0x100, &[7]);
    board.run_until(us(2));
    assert_eq!(board.sram().word(0x100), Some(0));
    assert_eq!(board.counters().outside, 2);
}

#[test]
fn a_word_that_is_no_instruction_stops_the_processor_and_not_the_board() {
    let mut board = running(Isa::V11, &[NOP, 0xF003_FF47]);
    board.set_trace(Trace::ring(16));
    board.write_register(registers::offset::IT, 20);
    board.run_until(us(100));
    assert!(matches!(board.cpu().state(), State::Illegal { address: 4, .. }));
    assert!(has(&board, isr::TIME_INT), "timers go on");
    assert!(board.instructions() < 10);
    assert!(board.trace().entries().any(|e| matches!(e.event, Event::Illegal { address: 4, .. })));
    board.control(control::RESET_ON);
    board.control(control::RESET_OFF);
    assert!(board.running());
}

#[test]
fn a_run_in_pieces_is_the_same_run() {
    let run = |step: u64| {
        let mut board = dma_board(Isa::Lanai4);
        board.set_trace(Trace::ring(256));
        while board.now() < us(10) {
            board.advance(Time::from_ps(step));
        }
        let trace: Vec<String> = board.trace().entries().map(ToString::to_string).collect();
        (trace, board.cpu().pc(), board.sram().bytes().to_vec())
    };
    let whole = run(10_000_000);
    assert!(whole.0.len() > 8);
    for step in [1_000, 30_000, 333_333] {
        let pieces = run(step);
        assert_eq!(pieces.0, whole.0, "steps of {step} ps");
        assert_eq!(pieces.2, whole.2);
    }
}

#[test]
fn a_run_instruction_by_instruction_is_the_same_run() {
    let mut whole = dma_board(Isa::Lanai4);
    let mut steps = dma_board(Isa::Lanai4);
    for board in [&mut whole, &mut steps] {
        board.set_trace(Trace::ring(256));
        board.write_register(registers::offset::IT, 7);
    }
    whole.run_until(us(10));
    while steps.now() < us(10) {
        steps.step();
    }
    let trace = |board: &TestBoard| board.trace().entries().copied().collect::<Vec<_>>();
    assert!(trace(&whole).len() > 8);
    assert_eq!(trace(&steps), trace(&whole));
    assert_eq!(steps.instructions(), whole.instructions());
    assert_eq!(steps.cpu().pc(), whole.cpu().pc());
}

#[test]
fn a_callback_sees_what_the_ring_sees() {
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let into = seen.clone();
    let mut board = dma_board(Isa::Lanai4);
    board.set_trace(Trace::callback(move |entry| into.borrow_mut().push(entry)));
    board.run_until(us(5));
    let seen = seen.borrow();
    let wrote =
        |e: &Event| matches!(e, Event::Register { who: Who::Processor, offset: 0x44, value: 256 });
    assert!(seen.iter().any(|e| wrote(&e.event)));
    assert!(seen.windows(2).all(|w| w[0].at <= w[1].at), "in order of time");
}
