//! The rooms of a crate, and which leans on which
//!
//! A *room* is a top-level module of a crate: `src/x.rs`, `src/x/`, or both. A room leans on another if its
//! files name it: by `crate::other`, by `super::other` from the room's own file, or by a name that `lib.rs`
//! exports for it. What is compiled for tests only does not count.
//!
//! Sources are read as text. That is enough for paths, which this project writes in full, and needs no
//! compiler: so these tests answer in a moment.
//!
//! Left out: paths that a macro makes.

mod names;
mod rooms;

pub use rooms::{Rooms, circles, rooms};
