//! What can go wrong between an application and the daemon.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::daemon::protocol::{Answer, ProtocolError};
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
    /// Data that leaves its region.
    #[error("bulk data does not fit: {0}")]
    Bulk(#[from] OutOfRange),
}

impl ClientError {
    pub(super) fn unexpected(answer: &Answer) -> Self {
        Self::Daemon(format!("{answer:?}"))
    }
}
