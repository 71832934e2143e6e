//! The punt path: how a packet that is the kernel's after all gets to the kernel's own stack.
//!
//! [`KernelPort`] is what an adapter hands such packets to, and [`inject`] one that gives them to the stack
//! as received on the interface they came from. Other backends have their own: on AF_PACKET it is a TAP
//! (`spine-router`).

pub mod inject;

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
