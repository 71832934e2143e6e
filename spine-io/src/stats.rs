//! What an adapter counts.
//!
//! Every packet received is, once it has left the adapter, counted under one of: forwarded (by the peer
//! it was given to), transmitted on its own wire, consumed, given to the kernel, dropped. What the wire
//! or the kernel refuses after that is counted by them, beside it.

use spine_abi::event::STAGES;
use spine_abi::{HandlerNumber, Reason};

use crate::id::{ExtensionId, User};
use crate::message::Ending;

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

/// What one extension has cost its adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bill {
    /// Entries into it.
    pub entries: u64,
    /// Messages it was given in them, packets included.
    pub messages: u64,
    /// Fuel it used.
    pub fuel: u64,
    /// Time it took, in nanoseconds, where the adapter has a clock.
    pub nanos: u64,
    /// Handlers stopped for using up their fuel.
    pub out_of_fuel: u64,
    /// Handlers stopped for what their fuel takes here, before it was used up.
    pub too_dear: u64,
    /// Handlers that trapped.
    pub trapped: u64,
    /// Entries that it left with messages waiting, or in which its memory was taken away.
    pub broken_off: u64,
    /// Handlers stopped because an extension that they called trapped.
    pub callee_trapped: u64,
}

impl Bill {
    /// Adds an entry.
    #[inline]
    pub(crate) fn add(&mut self, fuel: u64, messages: usize, nanos: u64, ending: Ending) {
        self.entries += 1;
        self.messages += messages as u64;
        self.fuel += fuel;
        self.nanos += nanos;
        if ending.is_stop() {
            self.add_stop(ending);
        }
    }

    #[cold]
    fn add_stop(&mut self, ending: Ending) {
        let count = match ending {
            Ending::Finished => return,
            Ending::OutOfFuel => &mut self.out_of_fuel,
            Ending::TooDear | Ending::Spared => &mut self.too_dear,
            Ending::Trapped => &mut self.trapped,
            Ending::ReturnedEarly | Ending::Faulted => &mut self.broken_off,
            Ending::CalleeTrapped => &mut self.callee_trapped,
        };
        *count += 1;
    }
}

/// What is known of one extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionStatistics {
    /// Its number on the adapter.
    pub id: ExtensionId,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub user: User,
    /// What it has cost.
    pub bill: Bill,
    /// Picoseconds that a unit of its fuel takes, as far as is known.
    pub picos_per_unit: u64,
    /// Strikes in the current window.
    pub strikes: u32,
    /// Frames that wait for it or that it keeps.
    pub frames: usize,
    /// Bytes of its memory, regions included.
    pub memory: u64,
    /// The last time it was stopped: the handler, and what stopped it, in words.
    pub last_stop: Option<(HandlerNumber, String)>,
}

/// Where an adapter's time went, in nanoseconds, but for what its extensions took.
///
/// Together with their bills, and with what is [gone](Self::gone), it is all of the time in which the adapter was
/// [busy](Self::busy).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// Taking packets and messages from wires, peers and timers, and finding their handlers.
    pub receive: u64,
    /// Handing them to wires, peers, the host and the kernel, and taking back what was sent.
    pub send: u64,
    /// What the host asked for and sent.
    pub control: u64,
    /// Extensions that are no more.
    pub gone: u64,
    /// Turns in which anything moved, from beginning to end, and flushes.
    pub busy: u64,
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
