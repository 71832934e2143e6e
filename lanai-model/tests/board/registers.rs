//! Every side effect of a special register, as a named case, from the host's side of the bus.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::common::{TestBoard, WHOLE, board, get, has, host_bytes, register, set, sram_bytes, us};
use lanai_model::bus::HostBus;
use lanai_model::registers::{self, isr};
use lanai_model::time::Time;

const HOST: u32 = 0x1000_0000;

/// Starts a DMA of `length` bytes with its registers written in this order.
fn start_dma(board: &mut TestBoard, order: [&str; 3], to_board: bool, length: u32) {
    for name in order {
        let value = match name {
            "EAR" => HOST,
            "LAR" => 0x400,
            _ => u32::from(to_board),
        };
        set(board, name, value);
    }
    set(board, "DMA_CTR", length);
}

#[test]
fn dma_ctr_starts_the_host_dma_whatever_order_the_others_were_written_in() {
    let orders = [
        ["EAR", "LAR", "DMA_DIR"],
        ["EAR", "DMA_DIR", "LAR"],
        ["LAR", "EAR", "DMA_DIR"],
        ["LAR", "DMA_DIR", "EAR"],
        ["DMA_DIR", "EAR", "LAR"],
        ["DMA_DIR", "LAR", "EAR"],
    ];
    for order in orders {
        for to_board in [true, false] {
            let mut board = board();
            board.host_mut().poke(HOST, b"from the host...");
            board.sram_mut().slice_mut(0x400, 16).unwrap().copy_from_slice(b"from the board..");
            start_dma(&mut board, order, to_board, 16);
            board.advance(us(5));
            if to_board {
                assert_eq!(sram_bytes(&board, 0x400, 16), b"from the host...", "{order:?}");
            } else {
                assert_eq!(host_bytes(&board, HOST, 16), b"from the board..", "{order:?}");
            }
        }
    }
}

#[test]
fn dma_int_falls_with_the_write_of_dma_ctr_and_rises_at_the_end() {
    let mut board = board();
    assert!(has(&board, isr::DMA_INT), "idle after reset");
    start_dma(&mut board, ["EAR", "LAR", "DMA_DIR"], true, 1100);
    assert!(!has(&board, isr::DMA_INT));
    // 1 us to start and 10 us for 1100 bytes at 110 MB/s.
    board.run_until(Time::from_ns(10_999));
    assert!(!has(&board, isr::DMA_INT));
    board.run_until(us(11));
    assert!(has(&board, isr::DMA_INT));
}

#[test]
fn dma_ctr_counts_down_in_flight_and_what_it_has_counted_is_there() {
    let mut board = board();
    board.host_mut().poke(HOST, &[7; 1100]);
    start_dma(&mut board, ["EAR", "LAR", "DMA_DIR"], true, 1100);
    board.run_until(Time::from_ns(6_010));
    let left = get(&mut board, "DMA_CTR");
    assert_eq!(left, 1100 - 548, "whole words of 5.01 us at 110 bytes a microsecond");
    assert_eq!(sram_bytes(&board, 0x400, 552)[546..], [7, 7, 0, 0, 0, 0]);
    assert_eq!(get(&mut board, "LAR"), 0x400 + 548);
    assert_eq!(get(&mut board, "EAR"), HOST + 548);
    board.run_until(us(20));
    assert_eq!(get(&mut board, "DMA_CTR"), 0);
    assert_eq!(sram_bytes(&board, 0x400, 1100), [7; 1100]);
}

#[test]
fn dma_ctr_starts_with_what_the_others_hold_and_later_writes_are_for_the_next_transfer() {
    let mut board = board();
    board.sram_mut().slice_mut(0x400, 8).unwrap().copy_from_slice(b"one two ");
    for (name, value) in
        [("DMA_DIR", registers::L2E), ("EAR", HOST), ("LAR", 0x400), ("DMA_CTR", 4)]
    {
        set(&mut board, name, value);
    }
    // In its start-up already: not for this transfer, but read back.
    for (name, value) in [("DMA_DIR", registers::E2L), ("EAR", HOST + 8), ("LAR", 0x404)] {
        set(&mut board, name, value);
        assert_eq!(get(&mut board, name), value, "{name}");
    }
    board.advance(us(2));
    assert_eq!(host_bytes(&board, HOST, 12), b"one \0\0\0\0\0\0\0\0");
    assert_eq!((get(&mut board, "EAR"), get(&mut board, "LAR")), (HOST + 8, 0x404));
    set(&mut board, "DMA_DIR", registers::L2E);
    set(&mut board, "DMA_CTR", 4);
    board.advance(us(2));
    assert_eq!(host_bytes(&board, HOST, 12), b"one \0\0\0\0two ");
    assert_eq!((get(&mut board, "EAR"), get(&mut board, "LAR")), (HOST + 12, 0x408));
}

#[test]
fn a_dma_of_nothing_ends_after_the_start_up_and_one_cut_short_is_counted() {
    let mut board = board();
    start_dma(&mut board, ["EAR", "LAR", "DMA_DIR"], true, 0);
    board.advance(Time::from_ns(1_001));
    assert!(has(&board, isr::DMA_INT));
    start_dma(&mut board, ["EAR", "LAR", "DMA_DIR"], true, 4000);
    start_dma(&mut board, ["EAR", "LAR", "DMA_DIR"], true, 4);
    board.advance(us(2));
    assert!(has(&board, isr::DMA_INT));
    assert_eq!(board.counters().dma_restarts, 1);
}

#[test]
fn a_dma_beyond_the_sram_reads_zeros_writes_nothing_and_is_counted() {
    let mut board = board();
    board.host_mut().poke(HOST, &[9; 64]);
    set(&mut board, "EAR", HOST);
    set(&mut board, "LAR", 0x3FFF0);
    set(&mut board, "DMA_CTR", 64);
    board.advance(us(5));
    assert_eq!(host_bytes(&board, HOST, 64), [0; 64]);
    assert!(board.counters().outside > 0 && has(&board, isr::DMA_INT));
}

#[test]
fn a_host_address_that_nobody_answers_reads_as_ones_and_is_counted() {
    struct Deaf;
    impl HostBus for Deaf {
        fn read(&mut self, _: Time, _: u32, _: &mut [u8]) -> bool {
            false
        }
        fn write(&mut self, _: Time, _: u32, _: &[u8]) -> bool {
            false
        }
        fn interrupt(&mut self, _: Time, _: bool) {}
    }
    let config = lanai_model::config::Config::default();
    let cable = lanai_model::link::Cable::new(config.link_rate);
    let mut board = lanai_model::Board::new(config, Deaf, cable);
    board.write_register(register("DMA_DIR"), registers::E2L);
    board.write_register(register("DMA_CTR"), 8);
    board.advance(us(5));
    assert_eq!(
        board.sram().slice(0, 12).unwrap(),
        [255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0]
    );
    assert_eq!(board.counters().dma_aborts, 1);
}

#[test]
fn cks_adds_up_over_host_dmas_both_ways_and_is_writable() {
    let mut board = board();
    let data = [0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7];
    board.host_mut().poke(HOST, &data);
    start_dma(&mut board, ["EAR", "LAR", "DMA_DIR"], true, 8);
    board.advance(us(5));
    assert_eq!(get(&mut board, "CKS"), 0xDDF2);
    start_dma(&mut board, ["EAR", "LAR", "DMA_DIR"], false, 8);
    board.advance(us(5));
    assert_eq!(get(&mut board, "CKS"), 0xDDF2 + 0xDDF2 - 0xFFFF);
    set(&mut board, "CKS", 0);
    assert_eq!(get(&mut board, "CKS"), 0);
}

#[test]
fn sml_sends_its_own_word_too_and_smlt_ends_the_packet() {
    let mut board = board();
    set(&mut board, "MYRINET", registers::CRC_ENABLE);
    board.sram_mut().slice_mut(0x100, 8).unwrap().copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
    set(&mut board, "SMP", 0x100);
    assert!(has(&board, isr::SEND_INT | isr::SEND_RDY));
    set(&mut board, "SML", 0x100);
    assert!(!has(&board, isr::SEND_INT) && !has(&board, isr::SEND_RDY));
    board.advance(us(1));
    assert!(has(&board, isr::SEND_INT | isr::SEND_RDY));
    assert!(board.link_mut().take().is_none(), "no end yet");
    assert_eq!(get(&mut board, "SMP"), 0x104);
    set(&mut board, "SMLT", 0x104);
    board.advance(us(1));
    let packet = board.link_mut().take().unwrap();
    assert_eq!(packet.payload(), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(packet.crc_is_good());
    assert_eq!(board.counters().packets_sent, 1);
}

#[test]
fn a_send_takes_as_long_as_its_bytes_on_the_link() {
    let mut board = board();
    set(&mut board, "SMLT", 1596);
    board.run_until(Time::from_ns(10_006));
    assert!(!has(&board, isr::SEND_INT));
    // 1600 bytes and the tail byte at 160 bytes a microsecond.
    board.run_until(Time::from_ns(10_007));
    assert!(has(&board, isr::SEND_INT));
}

#[test]
fn a_limit_below_the_pointer_sends_nothing() {
    let mut board = board();
    set(&mut board, "SMP", 0x100);
    set(&mut board, "SML", 0xF0);
    board.advance(us(1));
    assert!(has(&board, isr::SEND_INT));
    assert_eq!(get(&mut board, "SMP"), 0x100);
}

#[test]
fn sa_leaves_out_bytes_of_the_first_word_of_one_send() {
    for skip in 0..4 {
        let mut board = board();
        board.sram_mut().slice_mut(0, 8).unwrap().copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        set(&mut board, "SA", skip);
        set(&mut board, "SMLT", 4);
        board.advance(us(1));
        assert_eq!(
            board.link_mut().take().unwrap().payload(),
            &[1, 2, 3, 4, 5, 6, 7, 8][skip as usize..]
        );
        set(&mut board, "SMP", 0);
        set(&mut board, "SMLT", 0);
        board.advance(us(1));
        assert_eq!(board.link_mut().take().unwrap().payload(), [1, 2, 3, 4], "used up");
    }
}

#[test]
fn polled_sends_put_bytes_halves_and_words_on_the_link_and_st_ends_the_packet() {
    let mut board = board();
    set(&mut board, "MYRINET", registers::CRC_ENABLE);
    set(&mut board, "SB", 0xFFFF_FF11);
    assert!(!has(&board, isr::SEND_RDY), "the byte is on its way");
    assert!(has(&board, isr::SEND_INT), "no DMA runs");
    board.advance(Time::from_ns(7));
    assert!(has(&board, isr::SEND_RDY));
    set(&mut board, "SH", 0x2233);
    set(&mut board, "SW", 0x4455_6677);
    set(&mut board, "ST", 0);
    board.advance(us(1));
    let packet = board.link_mut().take().unwrap();
    assert_eq!(packet.payload(), [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77]);
    assert!(packet.crc_is_good());
}

#[test]
fn a_route_byte_by_sb_and_the_rest_by_dma_are_one_packet() {
    let mut board = board();
    set(&mut board, "MYRINET", registers::CRC_ENABLE);
    board.sram_mut().slice_mut(0x40, 4).unwrap().copy_from_slice(&[5, 6, 7, 8]);
    set(&mut board, "SB", 0x80);
    set(&mut board, "SMP", 0x40);
    set(&mut board, "SMLT", 0x40);
    board.advance(us(1));
    let packet = board.link_mut().take().unwrap();
    assert_eq!(packet.payload(), [0x80, 5, 6, 7, 8]);
    assert!(packet.crc_is_good());
}

/// Arms receive for `words` words at 0x800.
fn arm(board: &mut TestBoard, words: u32) {
    set(board, "RMP", 0x800);
    set(board, "RML", 0x800 + 4 * (words - 1));
}

#[test]
fn orun_bits_tell_the_length_of_a_packet() {
    for length in 1..40u8 {
        let mut board = board();
        set(&mut board, "MYRINET", registers::CRC_ENABLE);
        arm(&mut board, 64);
        let payload: Vec<u8> = (1..=length).collect();
        let length = u32::from(length);
        board.link_mut().inject(us(1), &payload);
        board.advance(us(5));
        assert!(has(&board, isr::RECV_INT) && !has(&board, isr::BUFF_INT), "length {length}");
        let over = if has(&board, isr::ORUN2) { 2 } else { 0 } + u32::from(has(&board, isr::ORUN1));
        assert_eq!(get(&mut board, "RMP") - 0x800 - over - 1, length);
        assert_eq!(sram_bytes(&board, 0x800, length), payload);
        assert_eq!(sram_bytes(&board, 0x800 + length, 1), [0], "a good CRC reads as zero");
        assert_eq!(has(&board, WHOLE), length % 4 == 0);
    }
}

#[test]
fn a_wrong_crc_leaves_a_byte_that_is_not_zero() {
    let mut board = board();
    set(&mut board, "MYRINET", registers::CRC_ENABLE);
    arm(&mut board, 64);
    board.link_mut().inject_raw(us(1), &[1, 2, 3, 4, 0x99]);
    board.advance(us(5));
    assert_ne!(sram_bytes(&board, 0x804, 1), [0]);
    assert_eq!(board.counters().bad_crc, 1);
}

#[test]
fn without_crc_enable_the_last_byte_is_as_received_and_a_sent_one_is_zero() {
    let mut board = board();
    arm(&mut board, 64);
    board.link_mut().inject_raw(us(1), &[1, 2, 3, 4, 0x99]);
    set(&mut board, "SMLT", 0);
    board.advance(us(5));
    assert_eq!(sram_bytes(&board, 0x804, 1), [0x99]);
    assert_eq!(board.counters().bad_crc, 0);
    assert_eq!(board.link_mut().take().unwrap().bytes, [0; 5]);
}

#[test]
fn buff_int_alone_at_the_limit_of_a_long_packet_and_both_bits_if_it_ends_there() {
    let mut board = board();
    set(&mut board, "MYRINET", registers::CRC_ENABLE);
    arm(&mut board, 2);
    board.link_mut().inject(us(1), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    board.advance(us(5));
    assert!(has(&board, isr::BUFF_INT) && !has(&board, isr::RECV_INT));
    assert_eq!(sram_bytes(&board, 0x800, 12), [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0]);
    // Writing RML again clears the bits and takes the rest: 4 bytes and the CRC in two words.
    arm(&mut board, 2);
    board.advance(us(1));
    assert!(has(&board, WHOLE | isr::BUFF_INT));
    assert_eq!(sram_bytes(&board, 0x800, 5), [9, 10, 11, 12, 0]);
}

#[test]
fn rml_clears_what_the_last_packet_left_and_rmp_alone_does_not_arm() {
    let mut board = board();
    set(&mut board, "MYRINET", registers::CRC_ENABLE);
    arm(&mut board, 16);
    board.link_mut().inject(us(1), &[1; 8]);
    board.link_mut().inject(us(2), &[2; 8]);
    board.advance(us(5));
    assert!(has(&board, WHOLE));
    set(&mut board, "RMP", 0x900);
    board.advance(us(1));
    assert_eq!(sram_bytes(&board, 0x900, 4), [0; 4], "not armed yet");
    set(&mut board, "RML", 0x93C);
    assert_eq!(sram_bytes(&board, 0x900, 8), [2; 8], "it waited in the FIFO");
    assert!(has(&board, WHOLE));
}

#[test]
fn rmp_moves_while_a_packet_is_coming_in() {
    let mut board = board();
    arm(&mut board, 400);
    board.link_mut().inject(us(1), &[5; 1000]);
    board.run_until(us(4));
    let rmp = get(&mut board, "RMP");
    assert!(rmp > 0x800 && rmp < 0x800 + 500, "{rmp:#x}");
    assert_eq!(sram_bytes(&board, 0x800, rmp - 0x800), vec![5; (rmp - 0x800) as usize]);
    assert!(!has(&board, isr::RECV_INT));
}

#[test]
fn polled_reads_take_what_arrived_and_tail_int_marks_the_end() {
    let mut board = board();
    set(&mut board, "MYRINET", registers::CRC_ENABLE);
    board.link_mut().inject(us(1), &[0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77]);
    assert!(!has(&board, isr::BYTE_RDY));
    board.advance(us(2));
    assert!(has(&board, isr::BYTE_RDY | isr::HALF_RDY | isr::WORD_RDY));
    assert_eq!(get(&mut board, "RB"), 0x11);
    assert_eq!(get(&mut board, "RH"), 0x2233);
    assert_eq!(get(&mut board, "RW"), 0x4455_6677);
    assert!(
        has(&board, isr::BYTE_RDY | isr::WORD_RDY),
        "the end of a packet is ready for any width"
    );
    assert!(!has(&board, isr::TAIL_INT));
    assert_eq!(get(&mut board, "RW"), 0, "the CRC byte, good");
    assert!(has(&board, isr::TAIL_INT | isr::ORUN1 | isr::ORUN2), "three bytes too many");
    assert!(!has(&board, isr::BYTE_RDY));
    assert_eq!(get(&mut board, "RB"), 0);
    assert_eq!(board.counters().empty_reads, 1);
    assert!(!has(&board, isr::TAIL_INT));
}

#[test]
fn a_first_word_by_rw_and_the_rest_by_dma() {
    let mut board = board();
    set(&mut board, "MYRINET", registers::CRC_ENABLE);
    board.link_mut().inject(us(1), &[1, 2, 3, 4, 5, 6, 7, 8]);
    board.advance(us(2));
    assert_eq!(get(&mut board, "RW"), 0x0102_0304);
    arm(&mut board, 2);
    assert!(has(&board, WHOLE | isr::BUFF_INT));
    assert_eq!(sram_bytes(&board, 0x800, 5), [5, 6, 7, 8, 0]);
}

#[test]
fn the_link_stops_when_nobody_receives_and_nothing_is_lost() {
    let mut board = board();
    let payload: Vec<u8> = (0..2000u32).map(|n| n.to_be_bytes()[3]).collect();
    board.link_mut().inject(us(1), &payload);
    board.run_until(us(100));
    arm(&mut board, 600);
    board.advance(us(5));
    assert!(!has(&board, isr::RECV_INT), "the rest still comes at link speed");
    board.advance(us(10));
    assert!(has(&board, isr::RECV_INT));
    assert_eq!(sram_bytes(&board, 0x800, 2000), payload);
}

#[test]
fn a_stopped_link_holds_the_send_until_it_goes() {
    let mut board = board();
    board.link_mut().stop(true);
    set(&mut board, "SMLT", 0);
    board.advance(us(70_000));
    assert!(!has(&board, isr::SEND_INT) && !has(&board, isr::NRES_INT), "without NRES_ENABLE");
    board.link_mut().stop(false);
    board.advance(us(2));
    assert!(has(&board, isr::SEND_INT));
}

#[test]
fn with_nres_enable_a_stopped_link_is_reset_after_the_time_out() {
    for (timeout, milliseconds) in [(0, 62), (1, 250), (2, 1_000)] {
        let mut board = board();
        board.link_mut().stop(true);
        set(&mut board, "TIMEOUT", timeout);
        set(&mut board, "MYRINET", registers::NRES_ENABLE);
        set(&mut board, "SMLT", 64);
        board.advance(us(milliseconds * 1_000));
        assert!(!has(&board, isr::NRES_INT), "TIMEOUT {timeout}");
        board.advance(us(1_000));
        assert!(has(&board, isr::NRES_INT | isr::SEND_INT), "TIMEOUT {timeout}");
        assert_eq!(board.counters().link_timeouts, 1);
    }
}

#[test]
fn rtc_counts_up_and_it_counts_down_in_half_microseconds_and_both_are_writable() {
    let mut board = board();
    board.advance(us(10));
    assert_eq!(get(&mut board, "RTC"), 20);
    assert_eq!(get(&mut board, "IT"), u32::MAX - 20);
    set(&mut board, "RTC", 1000);
    set(&mut board, "IT", 1000);
    board.advance(us(10));
    assert_eq!(get(&mut board, "RTC"), 1020);
    assert_eq!(get(&mut board, "IT"), 980);
}

#[test]
fn time_int_rises_when_it_wraps() {
    let mut board = board();
    set(&mut board, "IT", 9);
    board.run_until(Time::from_ns(4_999));
    assert!(!has(&board, isr::TIME_INT));
    assert_eq!(get(&mut board, "IT"), 0);
    board.run_until(us(5));
    assert!(has(&board, isr::TIME_INT));
    assert_eq!(get(&mut board, "IT"), u32::MAX);
}

#[test]
fn the_host_acknowledges_host_sig_and_raises_lan_sig() {
    let mut board = board();
    set(&mut board, "ISR", isr::LAN0_SIG | isr::HOST_SIG | isr::DBG);
    assert!(has(&board, isr::LAN0_SIG | isr::DBG));
    assert!(!has(&board, isr::HOST_SIG));
    set(&mut board, "ISR", isr::HOST_SIG);
    assert!(has(&board, isr::LAN0_SIG), "only the processor clears it");
}

#[test]
fn undefined_registers_read_back_what_was_written() {
    let mut board = board();
    let plain = [
        0x00, 0x04, 0x10, 0x24, 0x5C, 0x84, 0x90, 0x94, 0x98, 0x9C, 0xA0, 0xA4, 0xB8, 0xC4, 0xE0,
        0xFC,
    ];
    for offset in plain {
        board.write_register(offset, 0xA500_0000 | offset);
    }
    for offset in plain {
        assert_eq!(board.read_register(offset), 0xA500_0000 | offset, "{offset:#x}");
    }
    board.advance(us(100));
    assert_eq!(board.counters().outside, 0);
}

#[test]
fn pointers_read_back_what_was_written() {
    let mut board = board();
    for name in ["EAR", "LAR", "RMP", "SMP", "DMA_DIR", "EIMR", "SA", "MYRINET", "TIMEOUT"] {
        set(&mut board, name, 0x12344);
        assert_eq!(get(&mut board, name), 0x12344, "{name}");
    }
}
