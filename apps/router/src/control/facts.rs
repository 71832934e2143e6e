//! What answers need of the data path.

use std::collections::BTreeMap;

use spine_nic::layer::tap::TapSwitch;

use crate::path::{Path, PathError};

/// The data path, as far as it is asked while it runs.
pub trait Facts {
    /// What the classifier did with packets, by the name of the counter.
    ///
    /// # Errors
    /// [`PathError`].
    fn classified(&self) -> Result<BTreeMap<String, u64>, PathError>;

    /// What kept a part of the packets from the adapters, and how many of them.
    ///
    /// # Errors
    /// [`PathError`].
    fn kept(&self) -> Result<BTreeMap<String, u64>, PathError>;

    /// Packets that the kernel did not take back.
    fn refused(&self) -> u64;

    /// System calls of processors.
    fn syscalls(&self) -> u64;

    /// What shows the packets of the interfaces; nothing where the adapters are another process's.
    fn taps(&self) -> &[TapSwitch];

    /// Bytes of all frames; none where they are another process's.
    fn frame_bytes(&self) -> u64;

    /// Whether packets of an adapter's interface come with checksums that their senders left to a card, so that tunnels are the
    /// kernel's.
    fn leaves_checksums_undone(&self, adapter: usize) -> bool;

    /// Bytes of the longest frame that is an adapter's, where its interface may receive longer ones.
    fn longest(&self, adapter: usize) -> Option<u32>;
}

impl Facts for Path {
    fn classified(&self) -> Result<BTreeMap<String, u64>, PathError> {
        Self::classified(self)
    }

    fn kept(&self) -> Result<BTreeMap<String, u64>, PathError> {
        Self::kept(self)
    }

    fn refused(&self) -> u64 {
        Self::refused(self)
    }

    fn syscalls(&self) -> u64 {
        Self::syscalls(self)
    }

    fn taps(&self) -> &[TapSwitch] {
        match self {
            Self::Own(own) => own.taps(),
            Self::Spined(_) => &[],
        }
    }

    fn frame_bytes(&self) -> u64 {
        match self {
            Self::Own(own) => own.frame_bytes(),
            Self::Spined(_) => 0,
        }
    }

    fn leaves_checksums_undone(&self, adapter: usize) -> bool {
        match self {
            Self::Own(own) => own.leaves_checksums_undone(adapter),
            // The daemon does not tell how it has opened them, and claims no tunnel of an interface that may.
            Self::Spined(_) => true,
        }
    }

    fn longest(&self, adapter: usize) -> Option<u32> {
        match self {
            Self::Own(own) => own.longest(adapter),
            Self::Spined(_) => None,
        }
    }
}
