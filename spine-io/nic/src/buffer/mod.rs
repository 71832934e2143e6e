//! Buffers: packet frames in one memory that all adapters of a process share (SPINE 3.4).
//!
//! A [`Frame`] is the only handle to its piece of [`FrameMemory`]: it cannot be copied, so whoever
//! holds it may read and write the bytes, and passing it on (to a peer's ring, to the network card)
//! passes that right on. Nothing here counts references at run time because ownership does: a frame
//! is in exactly one place, and [`Pool`] says how many are at home.
//!
//! Extensions never see a frame. They see a [`spine_abi::BufferRef`], which `spine-io` checks.

pub mod pool;
mod sys;

pub use pool::Pool;
pub use sys::{Frame, FrameMemory, HEADROOM, MemoryError};
