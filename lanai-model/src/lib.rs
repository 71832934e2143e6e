//! The adapter of the paper: a Myricom LANai 4 board, in virtual time.
//!
//! Why it exists: the SPINE paper's numbers were measured on a card that is no longer sold. This model of it has no operating
//! system and no clock, so that anyone can repeat them, and so that firmware of that time runs again.
//!
//! [`Board`] is the whole card: a [`cpu`] with two instruction sets, [`sram`], special [`registers`], the engines that move
//! data beside the processor, [`timers`], and the board as its host sees it. It stands between two traits: [`bus::HostBus`],
//! the host's memory and interrupts, and [`link::Link`], the Myrinet link. Time is [`time::Time`], which only
//! [`Board::run_until`] moves. Every number is in [`config`], with a mark that says how it is known; what was never published
//! is marked as derived.
//!
//! ```
//! use lanai_model::{Board, board::control, bus::HostMemory, config::Config, link::Cable, time::Time};
//!
//! let config = Config::default();
//! let cable = Cable::new(config.link_rate);
//! let mut board = Board::new(config, HostMemory::default(), cable);
//! board.control(control::RESET_OFF);
//! board.run_until(Time::from_us(10));
//! assert_eq!(board.now(), Time::from_us(10));
//! assert!(board.instructions() > 300, "a memory of zeros is a memory of no-operations");
//! ```
//!
//! What it leaves out: the analogue side of the link, the EEPROM's contents, memory protection, the watchdog bit of the ISR,
//! and more than one card on a board. Section 7's hardware is in `extra`, as switches in [`config::Extra`].

mod arbiter;
pub mod board;
pub mod bus;
pub mod config;
pub mod cpu;
mod dma;
mod extra;
pub mod link;
pub mod object;
pub mod registers;
pub mod sram;
pub mod time;
pub mod timers;
pub mod trace;

pub use board::Board;
pub use dma::add_ones_complement;
