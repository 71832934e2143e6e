//! What the adapter, the host and extensions must agree on.
//!
//! The paper's I/O bus: `spine-io` and `spine-os` never import each other and meet only here. Layouts
//! are little-endian bytes, read and written by the functions beside them; nothing is transmuted, so
//! the crate has no `unsafe`, no allocation and no dependency, and compiles for the host and wasm32.
//!
//! Reading order: [`message`], [`handler`], [`verdict`], [`buffer`], [`dma`], [`frame_buffer`],
//! [`interface`], [`declaration`], [`manifest`], [`image`], [`event`], [`fifo`], [`error`], [`limits`], [`metadata`], [`notice`].
#![no_std]
#![forbid(unsafe_code)]

pub mod buffer;
pub mod bytes;
pub mod declaration;
pub mod dma;
pub mod endpoint;
pub mod error;
pub mod event;
pub mod fifo;
pub mod frame_buffer;
pub mod handler;
pub mod image;
pub mod interface;
pub mod limits;
pub mod mailbox;
pub mod manifest;
pub mod message;
pub mod metadata;
pub mod notice;
pub mod reason;
pub mod time;
pub mod verdict;

pub use buffer::BufferRef;
pub use endpoint::Endpoint;
pub use error::ErrorCode;
pub use handler::HandlerNumber;
pub use message::{Header, Kind, Message};
pub use notice::Notice;
pub use reason::Reason;
pub use time::Nanos;
pub use verdict::{PackedVerdict, Verdict};
