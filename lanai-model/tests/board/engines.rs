//! Engines together: two boards on one bus, a board on a switch, contention for the memory, section 7's hardware.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::cell::RefCell;
use std::rc::Rc;

use crate::common::asm::{NOP, R4, branch, load_word, store};
use crate::common::{TestBoard, board_with, get, has, host_bytes, load, set, sram_bytes, us};
use lanai_model::Board;
use lanai_model::board::{HostWrite, control};
use lanai_model::bus::HostMemory;
use lanai_model::config::{Config, Extra, SramSize};
use lanai_model::cpu::{Isa, Width};
use lanai_model::link::{Cable, Link, Piece, Switch};
use lanai_model::registers::{self, isr};
use lanai_model::time::Time;

fn small(extra: Extra) -> TestBoard {
    board_with(Config { sram: SramSize::K256, extra, ..Config::default() })
}

#[test]
fn host_dma_send_and_receive_run_at_the_same_time() {
    let mut board = small(Extra::default());
    set(&mut board, "MYRINET", registers::CRC_ENABLE);
    board.host_mut().poke(0x5000, &[1; 1100]);
    set(&mut board, "EAR", 0x5000);
    set(&mut board, "LAR", 0x1000);
    set(&mut board, "DMA_DIR", registers::E2L);
    set(&mut board, "RMP", 0x2000);
    set(&mut board, "RML", 0x2FFC);
    board.link_mut().inject(Time::ZERO, &[2; 1600]);
    set(&mut board, "SMP", 0x3000);
    set(&mut board, "SMLT", 0x3000 + 1596);
    set(&mut board, "DMA_CTR", 1100);
    board.run_until(Time::from_ns(9_999));
    assert!(
        !has(&board, isr::DMA_INT) && !has(&board, isr::SEND_INT) && !has(&board, isr::RECV_INT)
    );
    board.run_until(us(11));
    assert!(has(&board, isr::DMA_INT | isr::SEND_INT | isr::RECV_INT), "none waited for another");
    assert_eq!(sram_bytes(&board, 0x1000, 1100), [1; 1100]);
    assert_eq!(sram_bytes(&board, 0x2000, 1600), [2; 1600]);
}

#[test]
fn a_packet_can_be_sent_on_while_its_data_still_comes_from_the_host() {
    let mut board = small(Extra::default());
    board.host_mut().poke(0x5000, &[3; 2200]);
    set(&mut board, "EAR", 0x5000);
    set(&mut board, "LAR", 0x1000);
    set(&mut board, "DMA_DIR", registers::E2L);
    set(&mut board, "DMA_CTR", 2200);
    board.run_until(us(11));
    let there = 2200 - get(&mut board, "DMA_CTR");
    assert!((1000..=1100).contains(&there));
    set(&mut board, "SMP", 0x1000);
    set(&mut board, "SMLT", 0x1000 + there - 4);
    board.advance(us(8));
    assert!(!has(&board, isr::DMA_INT));
    assert_eq!(board.link_mut().take().unwrap().payload(), vec![3; there as usize]);
}

#[test]
fn two_boards_on_one_bus_take_turns() {
    let host = Rc::new(RefCell::new(HostMemory::default()));
    let config = Config { sram: SramSize::K256, ..Config::default() };
    let mut boards: Vec<_> = (0..2)
        .map(|_| Board::new(config.clone(), host.clone(), Cable::new(config.link_rate)))
        .collect();
    for board in &mut boards {
        board.write_register(registers::offset::DMA_CTR, 5500);
    }
    let mut time = Time::ZERO;
    let mut done = [Time::NEVER; 2];
    while done.contains(&Time::NEVER) && time < us(300) {
        time += Time::from_ns(500);
        for (board, done) in boards.iter_mut().zip(&mut done) {
            board.run_until(time);
            if *done == Time::NEVER && board.isr() & isr::DMA_INT != 0 {
                *done = time;
            }
        }
    }
    // Alone each would need 51 us; together they share 110 MB/s and end within a tenure of each other.
    assert!(done.iter().all(|&d| d > us(98) && d < us(104)), "{done:?}");
}

#[test]
fn a_packet_comes_back_through_the_switch_before_it_has_left_completely() {
    let mut board = small(Extra::default());
    let switch = Switch::new(8, board.config().switch_latency, board.config().link_rate);
    board.link_mut().plug(switch, 1);
    set(&mut board, "MYRINET", registers::CRC_ENABLE);
    set(&mut board, "RMP", 0x2000);
    set(&mut board, "RML", 0x2FFC);
    board.sram_mut().slice_mut(0x100, 1200).unwrap().fill(0x5A);
    board.sram_mut().store(0x100, Width::Byte, 0x80);
    set(&mut board, "SMP", 0x100);
    set(&mut board, "SMLT", 0x100 + 1196);
    board.run_until(us(2));
    assert!(get(&mut board, "RMP") > 0x2000, "cut-through: the whole packet needs 7.5 us");
    board.run_until(us(9));
    assert!(has(&board, isr::RECV_INT));
    assert_eq!(
        sram_bytes(&board, 0x2000, 1200)[1198..],
        [0x5A, 0],
        "route byte off, CRC made new and good"
    );
    assert_eq!(board.counters().bad_crc, 0);
}

/// A link whose far end is a wire in a test's hands.
#[derive(Default)]
struct Port {
    out: Vec<Piece>,
    into: std::collections::VecDeque<Piece>,
}

impl Link for Port {
    fn transmit(&mut self, piece: Piece) {
        self.out.push(piece);
    }

    fn next(&self) -> Option<(Time, usize)> {
        self.into.front().map(|piece| (piece.at, piece.bytes().len()))
    }

    fn receive(&mut self) -> Option<Piece> {
        self.into.pop_front()
    }
}

#[test]
fn a_packet_goes_from_board_to_board_in_steps_of_the_switch_latency() {
    let config = Config { sram: SramSize::K256, ..Config::default() };
    let mut switch = Switch::new(8, config.switch_latency, config.link_rate);
    let mut boards: Vec<_> = (0..2)
        .map(|_| Board::new(config.clone(), HostMemory::default(), Port::default()))
        .collect();
    let word = |name| registers::by_name(name).unwrap();
    for board in &mut boards {
        board.write_register(word("MYRINET"), registers::CRC_ENABLE);
        board.write_register(word("RMP"), 0x2000);
        board.write_register(word("RML"), 0x2FFC);
    }
    boards[0].sram_mut().slice_mut(0x100, 1200).unwrap().fill(0x5A);
    boards[0].sram_mut().store(0x100, Width::Byte, 0x83);
    boards[0].write_register(word("SMP"), 0x100);
    boards[0].write_register(word("SMLT"), 0x100 + 1196);
    let mut time = Time::ZERO;
    while boards[1].isr() & isr::RECV_INT == 0 && time < us(20) {
        time += config.switch_latency;
        for (port, source) in [(1, 0), (4, 1)] {
            boards[source].run_until(time);
            for piece in std::mem::take(&mut boards[source].link_mut().out) {
                let mut outputs = Vec::new();
                switch.push(port, piece, &mut |output| outputs.push(output));
                for output in outputs {
                    let to = if output.port == 4 { 1 } else { 0 };
                    boards[to].link_mut().into.push_back(output.piece);
                }
            }
        }
    }
    // 1201 bytes take 7.506 us, and the switch 0.5 us: not twice the length of the packet.
    assert!(time <= us(9), "{time}");
    assert_eq!(boards[1].sram().slice(0x2000 + 1198, 2).unwrap(), [0x5A, 0]);
    assert_eq!(boards[1].counters().packets_received, 1);
}

/// How many turns of a loop of loads and stores the processor makes in 100 us while everything streams.
fn turns(arbitration: bool, streaming: bool) -> u32 {
    let config = Config { sram: SramSize::K256, isa: Isa::V11, arbitration, ..Config::default() };
    let mut board = board_with(config);
    // r4 is counted up through memory: load, add 1, store, again.
    let add_one = 0x0000_0001 | R4 << 23 | R4 << 18;
    load(
        &mut board,
        0,
        &[load_word(R4, 0, 0x400), NOP, add_one, store(R4, 0, 0x400), branch(0), NOP],
    );
    board.control(control::RESET_OFF);
    if streaming {
        set(&mut board, "LAR", 0x1000);
        set(&mut board, "DMA_CTR", 12_000);
        set(&mut board, "RMP", 0x8000);
        set(&mut board, "RML", 0x3_FFFC);
        board.link_mut().inject(Time::ZERO, &[0; 16_000]);
        set(&mut board, "SMP", 0x1_0000);
        set(&mut board, "SMLT", 0x1_0000 + 15_996);
    }
    board.run_until(us(100));
    board.sram().word(0x400).unwrap()
}

#[test]
fn with_arbitration_the_engines_slow_the_processor_down_and_without_they_do_not() {
    assert_eq!(turns(false, false), turns(false, true));
    assert_eq!(turns(true, false), turns(false, false));
    let (alone, contended) = (turns(true, false), turns(true, true));
    assert!(contended < alone * 8 / 10, "{contended} of {alone}");
    assert!(contended > alone / 10, "starved but not stopped: {contended} of {alone}");
}

#[test]
fn a_chain_of_blocks_is_followed_without_the_processor() {
    let mut board = small(Extra { chained_dma: true, ..Extra::default() });
    board.host_mut().poke(0x9000, b"abcdefgh");
    board.sram_mut().slice_mut(0x500, 8).unwrap().copy_from_slice(b"ABCDEFGH");
    // Two pieces to the host, one from it, the last wakes.
    load(&mut board, 0x100, &[0x140, 0, 4, 0x504, 0, 0x8000]);
    load(&mut board, 0x140, &[0x180, 0, 4, 0x500, 0, 0x8004]);
    load(&mut board, 0x180, &[1 | 2 | 4, 0, 8, 0x600, 0, 0x9000]);
    set(&mut board, "CHAIN_L2E", 0x100);
    set(&mut board, "PULSE", 2);
    assert!(!has(&board, isr::DMA_INT));
    board.run_until(us(3));
    assert!(
        !has(&board, isr::DMA_INT) && !has(&board, isr::WAKE_INT),
        "each block has its start-up"
    );
    board.run_until(us(4));
    assert!(has(&board, isr::DMA_INT | isr::WAKE_INT));
    assert_eq!(host_bytes(&board, 0x8000, 8), b"EFGHABCD");
    assert_eq!(sram_bytes(&board, 0x600, 8), b"abcdefgh");
    assert_eq!(
        board.sram().word(0x104).unwrap() >> 16,
        0x4546 + 0x4748,
        "the sum of the first block's bytes"
    );
}

#[test]
fn a_chain_that_leads_nowhere_ends_and_is_counted() {
    let mut board = small(Extra { chained_dma: true, ..Extra::default() });
    load(&mut board, 0x100, &[0x00F0_0000, 0, 4, 0x500, 0, 0x8000]);
    set(&mut board, "CHAIN_E2L", 0x100);
    set(&mut board, "PULSE", 4);
    board.run_until(us(3));
    assert!(has(&board, isr::DMA_INT));
    assert_eq!((board.counters().chain_faults, board.counters().dma_transfers), (1, 1));
}

#[test]
fn a_chain_that_leads_to_itself_does_not_stop_the_clock() {
    let extra = Extra { chained_dma: true, ..Extra::default() };
    let dma_start_up = Time::ZERO;
    let config = Config { sram: SramSize::K256, extra, dma_start_up, ..Config::default() };
    let mut board = board_with(config);
    load(&mut board, 0x100, &[0x100, 0, 0, 0, 0, 0]);
    set(&mut board, "CHAIN_L2E", 0x100);
    set(&mut board, "PULSE", 2);
    board.run_until(Time::from_ns(5));
    assert!(board.counters().dma_transfers >= 5_000);
    set(&mut board, "DMA_CTR", 4);
    board.run_until(us(1));
    assert!(has(&board, isr::DMA_INT), "an ordinary transfer ends the list");
}

#[test]
fn without_the_switch_pulse_is_an_ordinary_register() {
    let mut board = small(Extra::default());
    set(&mut board, "CHAIN_L2E", 0x100);
    set(&mut board, "PULSE", 2);
    assert!(has(&board, isr::DMA_INT));
    assert_eq!(get(&mut board, "PULSE"), 2);
    board.advance(us(5));
    assert_eq!(board.counters().dma_transfers, 0);
}

#[test]
fn a_strided_dma_places_rows_at_a_constant_distance() {
    for on in [true, false] {
        let mut board = small(Extra { strided_dma: on, ..Extra::default() });
        board.sram_mut().slice_mut(0x100, 12).unwrap().copy_from_slice(b"aaaabbbbcccc");
        for (name, value) in
            [("STRIDE_ROW", 4), ("STRIDE_STEP", 10), ("EAR", 0x8000), ("LAR", 0x100)]
        {
            set(&mut board, name, value);
        }
        set(&mut board, "DMA_CTR", 12);
        board.advance(us(3));
        let expected: &[u8; 24] = if on {
            b"aaaa\0\0\0\0\0\0bbbb\0\0\0\0\0\0cccc"
        } else {
            b"aaaabbbbcccc\0\0\0\0\0\0\0\0\0\0\0\0"
        };
        assert_eq!(host_bytes(&board, 0x8000, 24), expected);
    }
}

#[test]
fn the_doorbell_region_fills_a_fifo_in_memory_and_refuses_when_it_is_full() {
    let config =
        Config { extra: Extra { hardware_fifo: true, ..Extra::default() }, ..Config::default() };
    let mut board = board_with(config);
    assert_eq!(board.host_write(0x80_8000, Width::Word, 1), HostWrite::Retry, "no ring yet");
    set(&mut board, "FIFO_BASE", 0x4000);
    set(&mut board, "FIFO_SIZE", 4);
    for n in 0..4 {
        assert_eq!(board.host_write(0x80_9000 + 4 * n, Width::Word, 0xAA00 + n), HostWrite::Done);
    }
    assert!(has(&board, 1 << 23));
    assert_eq!(board.host_write(0x80_9000, Width::Word, 9), HostWrite::Retry);
    assert_eq!(board.counters().fifo_full, 2);
    assert_eq!(board.sram().word(0x4008), Some(0x1004));
    assert_eq!(board.sram().word(0x400C), Some(0xAA01));
    set(&mut board, "FIFO_GET", 1);
    assert_eq!(board.host_write(0x81_0000, Width::Word, 0x77), HostWrite::Done);
    assert_eq!(get(&mut board, "FIFO_PUT"), 5);
    assert_eq!(board.sram().word(0x4004), Some(0x77), "the ring wraps");
}
