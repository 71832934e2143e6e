//! The adapter of the paper: a Myricom LANai 4 board, in virtual time.

pub mod cpu;
pub mod object;
