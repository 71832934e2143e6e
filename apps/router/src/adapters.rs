//! What the host half needs of an adapter.
//!
//! The router itself sees adapters only through this trait, so that everything above it is tested
//! without interfaces.

use std::collections::BTreeMap;
use std::time::Duration;

use spine_abi::{Message, Reason};

/// An adapter cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("adapter {name}: {what}")]
pub struct AdapterError {
    /// Its interface.
    pub name: String,
    /// What went wrong.
    pub what: String,
}

/// What an adapter counted since it was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AdapterStatistics {
    /// How packets come in: "zero-copy", "copy", "generic", "packet".
    pub mode: String,
    /// Packets taken from the wire.
    pub received: u64,
    /// Packets put on the wire.
    pub transmitted: u64,
    /// Packets put on this wire for another adapter.
    pub forwarded: u64,
    /// Packets given to the kernel, by reason.
    pub to_kernel: BTreeMap<Reason, u64>,
    /// Packets dropped, by reason.
    pub dropped: BTreeMap<Reason, u64>,
    /// System calls of its loop.
    pub syscalls: u64,
    /// How often a model in real time left time out, for want of the machine's.
    pub late: u64,
    /// How much time that was.
    pub left_out: Duration,
}

/// One adapter with the router extension on it.
pub trait Adapter {
    /// Its interface.
    fn name(&self) -> &str;

    /// Sends a message to the extension.
    ///
    /// # Errors
    /// [`AdapterError`]: the FIFO is full, or the adapter is gone.
    fn send(&mut self, message: Message) -> Result<(), AdapterError>;

    /// The next message the extension sent to the host, waiting for it at most this long.
    ///
    /// # Errors
    /// [`AdapterError`]: the adapter is gone, or has unloaded the extension for what its handlers did.
    fn receive(&mut self, timeout: Duration) -> Result<Option<Message>, AdapterError>;

    /// What it counted.
    ///
    /// # Errors
    /// [`AdapterError`]: the adapter is gone.
    fn statistics(&self) -> Result<AdapterStatistics, AdapterError>;
}
