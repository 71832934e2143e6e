//! All that an adapter counts, in one copy.

use spine_nic::NicStatistics;
use spine_remote::PeeringStatistics;

use crate::endpoint::fifo::FifoStatistics;
use crate::id::ExtensionId;
use crate::stats::{Counters, ExtensionStatistics, Mail, Times};

/// A copy of everything an adapter knows of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statistics {
    /// The interface.
    pub name: String,
    /// How packets reach it.
    pub mode: String,
    /// The adapter's counters.
    pub counters: Counters,
    /// The backend's counters.
    pub nic: NicStatistics,
    /// System calls of the processor it runs on, other than the backend's: sleeping and doorbells.
    pub processor_syscalls: u64,
    /// Endpoints on other machines, in the order they were set up.
    pub remotes: Vec<PeeringStatistics>,
    /// Its FIFOs to applications.
    pub fifos: Vec<FifoStatistics>,
    /// Its extensions' small messages, by the extensions' numbers.
    pub mail: Vec<(ExtensionId, Mail)>,
    /// Its extensions, by their numbers.
    pub extensions: Vec<ExtensionStatistics>,
    /// Where its time went, if it is measured.
    pub times: Times,
    /// Frames at home, and how many belong there.
    pub frames: (usize, usize),
}
