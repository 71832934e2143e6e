//! Random memory, random host, random packets: the board never panics and its time never stops.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::common::{TestBoard, board_with, us};
use lanai_model::board::control;
use lanai_model::config::{Config, Extra, SramSize};
use lanai_model::cpu::{Isa, Width};
use lanai_model::time::Time;

/// Marsaglia's xorshift: the same bytes on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from(self.0 >> 32).unwrap()
    }

    fn below(&mut self, n: u32) -> u32 {
        self.next() % n
    }
}

/// A word that is likelier than chance to do something: loads and stores at the registers, short branches.
fn word(random: &mut Random) -> u32 {
    let any = random.next();
    let register = 0xFF00 | (random.below(64) * 4);
    match random.below(8) {
        0 => any,
        1 | 2 => 0x9002_0000 | random.below(32) << 23 | register,
        3 => 0x8002_0000 | random.below(32) << 23 | register,
        4 => 0x8003_0000 | any & 0x1FFC_FFFC,
        5 => 0xE000_0000 | random.below(0x400) << 2 | any & 0x0E00_0001,
        6 => 0x9002_0000 | any & 0x0FFC_3FFC,
        _ => any & 0x7FFF_FFFF,
    }
}

fn shake(board: &mut TestBoard, random: &mut Random) {
    match random.below(6) {
        0 => {
            let length = random.below(900) as usize;
            let bytes: Vec<u8> = (0..length).map(|_| random.next().to_be_bytes()[0]).collect();
            let now = board.now();
            board.link_mut().inject_raw(now, &bytes);
        }
        1 => {
            let _ = board.host_write(random.next() & 0x00FF_FFFF, Width::Word, random.next());
        }
        2 => {
            let _ = board.host_read(0x0C_0000 + random.below(256), Width::Byte);
        }
        3 => board.write_register(random.below(256), random.next()),
        4 => board.control(random.next()),
        _ => board.link_mut().stop(random.below(2) == 0),
    }
}

fn random_life(isa: Isa, seed: u64) -> (u64, u32) {
    let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ seed);
    let extra = Extra { chained_dma: true, strided_dma: true, hardware_fifo: true };
    let arbitration = seed % 2 == 1;
    let config = Config { isa, sram: SramSize::K256, extra, arbitration, ..Config::default() };
    let mut board = board_with(config);
    for address in (0..0x4000).step_by(4) {
        board.sram_mut().store(address, Width::Word, word(&mut random));
    }
    board.control(control::RESET_OFF | control::INTERRUPT_ENABLE);
    while board.now() < us(10_000) {
        board.advance(us(u64::from(random.below(200))));
        shake(&mut board, &mut random);
        if !board.running() {
            board.control(control::RESET_ON);
            let start = random.below(0x1000) * 4;
            board.control(control::RESET_OFF);
            board.cpu_mut().set_pc(start);
        }
    }
    assert!(board.now() >= us(10_000) && board.now() < us(10_200));
    let sum = board.sram().bytes().iter().fold(0u32, |sum, &b| sum.rotate_left(1) ^ u32::from(b));
    (board.instructions(), sum)
}

#[test]
fn random_images_run_for_ten_milliseconds_and_the_same_seed_gives_the_same_run() {
    let mut instructions = 0;
    for seed in 0..24 {
        for isa in [Isa::V11, Isa::Lanai4] {
            let first = random_life(isa, seed);
            instructions += first.0;
            if seed < 3 {
                assert_eq!(first, random_life(isa, seed), "{isa:?} seed {seed}");
            }
        }
    }
    assert!(instructions > 100_000, "they do run: {instructions}");
}

#[test]
fn a_board_that_does_nothing_takes_no_time_to_simulate() {
    let mut board = board_with(Config::default());
    board.run_until(us(1_000_000_000));
    assert_eq!(board.now(), us(1_000_000_000));
    board.run_until(Time::from_us(1));
    assert_eq!(board.now(), us(1_000_000_000), "time does not go back");
}
