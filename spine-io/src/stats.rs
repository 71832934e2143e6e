//! What an adapter counts.
//!
//! Every packet received is, once it has left the adapter, counted under one of: forwarded (by the peer
//! it was given to), transmitted on its own wire, consumed, given to the kernel, dropped. What the wire
//! or the kernel refuses after that is counted by them, beside it.

use spine_abi::Reason;
use spine_abi::event::STAGES;

/// Counts by reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByReason(Box<[u64; 256]>);

impl Default for ByReason {
    fn default() -> Self {
        Self(Box::new([0; 256]))
    }
}

impl ByReason {
    /// Counts one more.
    #[inline]
    pub fn add(&mut self, reason: Reason, count: u64) {
        self.0[usize::from(reason as u8)] += count;
    }

    /// How many were counted under a reason.
    pub fn get(&self, reason: Reason) -> u64 {
        self.0[usize::from(reason as u8)]
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The reasons that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.iter().map(|reason| (*reason, self.get(*reason))).filter(|(_, n)| *n > 0)
    }
}

/// One adapter's counters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Packets sent out of this wire for a peer adapter.
    pub forwarded: u64,
    /// Packets an extension sent back out of its own wire.
    pub transmitted_own: u64,
    /// Packets an extension was finished with: verdict "done", or kept and released.
    pub consumed: u64,
    /// Packets given to the kernel, by reason.
    pub to_kernel: ByReason,
    /// Packets dropped, by reason.
    pub dropped: ByReason,
    /// Small messages dropped, by reason.
    pub messages_dropped: ByReason,
    /// Messages from extensions to the application.
    pub to_host: u64,
    /// Messages from the application.
    pub from_host: u64,
    /// Messages from and to peers' extensions.
    pub from_peer: u64,
    /// Messages to peers' extensions.
    pub to_peer: u64,
    /// Messages handled, packets included.
    pub handled: u64,
    /// Entries into extensions.
    pub entries: u64,
    /// Fuel used.
    pub fuel: u64,
    /// Handlers stopped, trapped or returned early.
    pub strikes: u64,
    /// Turns that took longer than all extensions' worst cases together: time that something else on
    /// the machine took. Counted once the adapter was told what to expect.
    pub overruns: u64,
    /// Extensions unloaded for their strikes.
    pub unloaded: u64,
    /// Checksums completed.
    pub checksums_completed: u64,
    /// Events run, by stage.
    pub events: [u64; STAGES],
}

/// Small messages between one extension and its applications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mail {
    /// From an application.
    pub from_host: u64,
    /// To an application: one that several hear is counted once for each.
    pub to_host: u64,
    /// That an application had no room for, or nobody heard.
    pub lost: u64,
}
