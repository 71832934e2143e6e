//! What the host asks an adapter for: the requests that the loop serves between two events.
//!
//! [`AdapterHandle`](crate::AdapterHandle) makes them, `control` does them.

use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use spine_abi::HandlerNumber;
use spine_nic::clock::Clock;
use spine_ring::End;

use super::Statistics;
use crate::dma::{Answer, Prepared};
use crate::endpoint::Fifos;
use crate::endpoint::allowance::Allowance;
use crate::extension::{LoadError, Loaded};
use crate::id::{ExtensionId, FifoId};

/// What the application asks an adapter for.
pub(crate) enum Control {
    /// Install an instance that was loaded for this adapter.
    Install(Loaded, SyncSender<Result<ExtensionId, LoadError>>),
    /// Put an instance in an extension's place; answers the one that was there.
    Replace(ExtensionId, Loaded, SyncSender<Result<Loaded, LoadError>>),
    /// Unload an extension, or, unless it is to go anyway, refuse if others are linked against it; answers
    /// whether it was there.
    Unload(ExtensionId, bool, SyncSender<Result<bool, LoadError>>),
    /// The adapter's end of a FIFO to another application, and how much it may send; answers which it is, if
    /// there is room.
    Attach(Box<End>, Option<Allowance>, SyncSender<Option<FifoId>>),
    /// One more application for an extension.
    Share(ExtensionId, FifoId, SyncSender<Result<(), LoadError>>),
    /// Closes such a FIFO; answers whether it was there.
    Detach(FifoId, SyncSender<bool>),
    /// Which handler claimed packets are for that come without a stamp.
    Unstamped(HandlerNumber),
    /// A copy of its counters.
    Statistics(SyncSender<Statistics>),
    /// A window for an extension.
    Grant(ExtensionId, Box<Prepared>, SyncSender<Answer>),
    /// A window to be taken from an extension.
    Revoke(ExtensionId, u8, SyncSender<Answer>),
    /// Time a probe's handlers by this clock: nanoseconds each.
    Probe(Loaded, Box<dyn Clock>, SyncSender<Vec<u64>>),
    /// The longest that one extension's entry takes: what is beyond is counted.
    Expect(Duration),
}

/// The adapter's side.
pub(crate) struct HostPort {
    /// What the application asks for.
    pub(crate) control: Receiver<Control>,
    /// Messages from and to the applications.
    pub(crate) fifos: Fifos,
}
