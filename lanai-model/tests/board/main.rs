//! The board as its host and its processor see it: registers, engines, interrupts, programs.

mod common;
mod engines;
mod fuzz;
mod host_view;
mod isr;
mod program;
mod registers;
