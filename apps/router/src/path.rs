//! Where the router's extension runs: on adapters of this process, or on those of a daemon that owns the interfaces.
//!
//! What the control loop and the report need of either, under one name.

use std::collections::BTreeMap;

use spine_nic::open::Interface;

use crate::adapters::Adapter;
use crate::claims::Classifier;
use crate::dataplane::{DataPath, DataPathError};
use crate::netlink::state::IfIndex;
use crate::spined::{Spined, SpinedError};

/// The adapters do not answer, or do not do what they are told.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// Those of this process.
    #[error(transparent)]
    Own(#[from] DataPathError),
    /// The daemon's.
    #[error(transparent)]
    Spined(#[from] SpinedError),
}

/// Where the extension runs.
pub(crate) enum Path {
    /// On adapters of this process.
    Own(Box<DataPath>),
    /// On the daemon's.
    Spined(Spined),
}

impl Path {
    pub(crate) fn adapters(&self) -> Vec<Box<dyn Adapter>> {
        match self {
            Self::Own(own) => own.adapters(),
            Self::Spined(spined) => spined.adapters(),
        }
    }

    /// What keeps packets apart on these interfaces, which are the adapters' in their order.
    pub(crate) fn classifier(&self, interfaces: &[IfIndex]) -> Box<dyn Classifier> {
        match self {
            Self::Own(own) => own.classifier(),
            Self::Spined(spined) => spined.classifier(interfaces),
        }
    }

    /// Whether packets of some interface come with checksums that their senders left to a card. A daemon that
    /// owns these interfaces does not tell how it has opened them.
    pub(crate) fn unfinished_checksums(&self, interfaces: &[Interface]) -> bool {
        match self {
            Self::Own(own) => own.unfinished_checksums(),
            Self::Spined(_) => interfaces.iter().any(Interface::is_virtual),
        }
    }

    /// Gives every packet to the kernel again.
    pub(crate) fn disable(&self) -> Result<(), PathError> {
        match self {
            Self::Own(own) => Ok(own.disable()?),
            Self::Spined(spined) => Ok(spined.unload()?),
        }
    }

    /// System calls of processors; a daemon's are for all whom it serves.
    pub(crate) fn syscalls(&self) -> u64 {
        match self {
            Self::Own(own) => own.syscalls(),
            Self::Spined(_) => 0,
        }
    }

    pub(crate) fn classified(&self) -> Result<BTreeMap<String, u64>, PathError> {
        match self {
            Self::Own(own) => {
                let counted = own.classified()?.into_iter().filter(|(_, count)| *count > 0);
                Ok(counted.map(|(name, count)| (name.to_owned(), count)).collect())
            }
            Self::Spined(spined) => Ok(spined.classified()?),
        }
    }

    /// What kept a part of the packets from the adapters, and how many of them.
    pub(crate) fn kept(&self) -> Result<BTreeMap<String, u64>, PathError> {
        match self {
            Self::Own(own) => Ok(own.kept()?),
            Self::Spined(_) => Ok(BTreeMap::new()),
        }
    }

    /// Packets that the kernel did not take back.
    pub(crate) fn refused(&self) -> u64 {
        match self {
            Self::Own(own) => own.handed_over().refused,
            Self::Spined(_) => 0,
        }
    }
}
