//! The adapter's half of the video client, built with this crate and embedded in it.
//!
//! It was built by the same build as the host's half, so it needs no author's signature; the linker
//! validates it all the same.

/// The module, as WebAssembly.
pub(crate) static MODULE: &[u8] = include_bytes!(env!("SPINE_VIDEO_EXTENSION"));
