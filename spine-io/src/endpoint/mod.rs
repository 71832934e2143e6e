//! The places a message can go besides a local handler: host, peer, network, kernel (SPINE 3.2).

pub mod allowance;
pub mod fifo;
pub mod host;
pub mod kernel;
pub mod network;
mod outlets;
pub mod peer;
pub mod remote;

pub(crate) use fifo::Fifos;
pub(crate) use outlets::{NOBODY, Outlets};

/// How full a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Entries in it now.
    pub waiting: usize,
    /// Entries it holds at most.
    pub capacity: usize,
}

/// Where packets for the kernel's own stack go.
pub trait KernelPort: Send {
    /// Takes a copy of a packet, as received on this adapter's interface; never blocks.
    ///
    /// Returns false when the queue is full.
    fn hand_over(&mut self, packet: &[u8]) -> bool;

    /// How full the queue is, so that extensions share it fairly; `None` where there is none to share.
    fn queue(&self) -> Option<Queue> {
        None
    }
}
