//! The runtime with extensions in it, on wires in memory; what two machines say to each other also on real ones.
//!
//! One program for all of them: each holds the linker, too, and links for some time.

mod common;
mod fifo;
mod frame_buffer;
mod give_back;
mod lanai;
mod linked;
mod live;
mod remote;
mod replace;
mod runtime;
mod timers;
