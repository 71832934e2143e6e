//! What can go wrong between an application and the daemon.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use spine_abi::limits::ARGUMENT_BYTES;
use thiserror::Error;

use crate::daemon::protocol::{Answer, ProtocolError};
use crate::fifo::{Closed, OpenError};
use crate::memory::OutOfRange;

/// Why the daemon was not reached, or did not do what was asked.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens, or one may not connect.
    #[error("cannot reach spined at {path}: {error} (is it running? --socket names another place)")]
    Connect {
        /// Where the daemon should listen.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The daemon refused, and says why.
    #[error("{0}")]
    Refused(String),
    /// The extension is gone; the daemon says why.
    #[error("{0}")]
    Ended(String),
    /// Nothing came.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection has ended.
    #[error("spined has closed the connection")]
    HungUp,
    /// The connection is of no more use.
    #[error("the connection to spined is broken: {0}")]
    Broken(#[from] io::Error),
    /// A packet that makes no sense, here or there.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The daemon said something that is no answer.
    #[error("spined said something unexpected: {0}")]
    Daemon(String),
    /// The adapter takes nothing, or no more than the policy allows.
    #[error(
        "the FIFO to the adapter has been full for {0:?}: send slower, or ask for more messages_per_second in the policy"
    )]
    Full(Duration),
    /// The adapter does not talk with this client any more.
    #[error("the FIFO to the adapter of {interface} is closed: {why}")]
    Fifo {
        /// Which.
        interface: String,
        /// What it says of the other end.
        why: Closed,
    },
    /// What the daemon sent is no end of a FIFO.
    #[error("spined sent a FIFO that cannot be used: {0}")]
    NoFifo(#[from] OpenError),
    /// More than a message holds.
    #[error("{0} bytes of arguments: a small message has {ARGUMENT_BYTES} at most")]
    Arguments(usize),
    /// Data that leaves its region.
    #[error("bulk data does not fit: {0}")]
    Bulk(#[from] OutOfRange),
}

impl ClientError {
    pub(crate) fn unexpected(answer: &Answer) -> Self {
        Self::Daemon(format!("{answer:?}"))
    }
}
