//! The FIFO between an application and its adapter, and how both sleep on it (SPINE 3.1).
//!
//! `spine-io` and `spine-client` never import each other, and a FIFO has an end in each: this crate is what they
//! share, so that the protocol, and the unsafe code under it, exist once. The layout and its
//! memory-ordering contract are `spine_abi::fifo`'s.
//!
//! An *end* ([`End`]) sends and receives messages. It was made by [`create`], or opened from the two
//! descriptors ([`Fds`]) that `create` gave for the other end and that may have crossed a Unix socket: a sealed
//! memory file with both rings, and this end's side of a pair of sockets, the *doorbell*. The doorbell is rung
//! only for an end that said it sleeps; while both are awake, messages cross without a system call
//! ([`Counts`] shows it).
//!
//! Whatever the other end does, an end stays in bounds, does not block longer than it was told, and
//! does not panic. An other end that breaks the protocol is closed ([`Closed`]).
//!
//! Not here: who may open a FIFO and what its messages may do; that is for the adapter and the daemon.
//!
//! Reading order: [`protocol`], [`end`], [`memory`], [`bell`], [`sleeper`], [`waiter`].

pub mod bell;
pub mod end;
pub mod memory;
pub mod protocol;
pub mod sleeper;
mod sys;
pub mod waiter;

pub use end::{Closed, Counts, End, Polled, Receiver, SendError, Sender, create};
pub use memory::{Fds, OpenError};
pub use sleeper::Sleeper;
pub use spine_abi::fifo::Side;
pub use waiter::Waiter;
