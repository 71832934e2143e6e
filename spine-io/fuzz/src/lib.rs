//! What comes from outside, as a fuzzer sees it: each target takes any bytes, and must neither panic nor hang.
//!
//! The targets are plain functions with seeds, so that two drivers share them: `cargo fuzz` (coverage-guided, with a
//! sanitizer, on a nightly compiler) and `drive` (random mutations of the seeds, on any compiler).
//! `ci/run.sh fuzz` uses the better one there is.
#![forbid(unsafe_code)]

pub mod control;
pub mod fifo;
pub mod image;
pub mod message;
pub mod mutate;
#[cfg(feature = "video")]
pub mod video;

/// A target: its name, what it does with some bytes, and bytes to start from.
pub struct Target {
    /// As `cargo fuzz` and `drive` know it.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Bytes that get far, for mutation.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "image", run: image::run, seeds: image::seeds },
    Target { name: "message", run: message::run, seeds: message::seeds },
    Target { name: "fifo", run: fifo::run, seeds: fifo::seeds },
    Target { name: "control", run: control::run, seeds: control::seeds },
    #[cfg(feature = "video")]
    Target { name: "video", run: video::run, seeds: video::seeds },
];
