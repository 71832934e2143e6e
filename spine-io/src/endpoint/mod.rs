//! The places a message can go besides a local handler: host, peer, network, kernel (SPINE 3.2).

pub mod host;
pub mod kernel;
pub mod network;
mod outlets;
pub mod peer;
pub mod remote;

pub(crate) use outlets::Outlets;

/// Where packets for the kernel's own stack go.
pub trait KernelPort: Send {
    /// Takes a copy of a packet, as received on this adapter's interface; never blocks.
    ///
    /// Returns false when the queue is full.
    fn hand_over(&mut self, packet: &[u8]) -> bool;
}
