//! The host half of the video client (SPINE 5.1): it opens the window, says where it is, and sleeps.
//!
//! A stream's packets go from the classifier to the adapter, where the extension puts their pixels into the
//! window's frame buffer by DMA ([`backend`]); a finished frame is published in the buffer's mailbox
//! ([`frames`]), and the display server shows it from where it is ([`present`]). Nothing here touches a pixel
//! on that way. [`receive`] puts it together; [`send`] stands where the paper's video server stood.

// What is said goes by `spine_client::voice`, which nobody's absence ends.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod backend;
pub mod cli;
pub mod colour;
pub mod control;
mod extension;
pub mod firewall;
pub mod frames;
pub mod interface;
pub mod listen;
pub mod on_screen;
pub mod pixels;
pub mod present;
pub mod processor_time;
pub mod receive;
pub mod record;
pub mod report;
pub mod screen;
pub mod sdp;
pub mod send;
pub mod signals;
pub mod stamp;
pub mod stream;
mod sys;
pub mod text;
pub mod trouble;
pub mod view;

pub use spine_video_packets::format;
