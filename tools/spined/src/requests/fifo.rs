//! The FIFO that a client gets with its first extension on an adapter.

use std::os::fd::OwnedFd;

use spine_abi::limits::HOST_FIFO;
use spine_io::{AdapterHandle, Allowance, FifoId};

use crate::clients::{ClientId, FIFOS_OF_USER};
use crate::server::Server;

/// Messages that a client's FIFO holds each way.
#[expect(clippy::cast_possible_truncation, reason = "a constant far below 2^32")]
const FIFO_MESSAGES: u32 = HOST_FIFO as u32;

/// What is to be done for a client to have a FIFO.
#[derive(Debug, Clone, Copy)]
pub(super) enum Opening {
    /// It has one.
    There(FifoId),
    /// One is opened, and may carry so much.
    New(Allowance),
}

/// A FIFO, and what its client must be given to use it if it is new.
#[derive(Debug)]
pub(super) struct Opened {
    fifo: FifoId,
    beside: Vec<OwnedFd>,
}

impl Opening {
    /// Opens it, where that may wait.
    pub(super) fn open(self, adapter: &AdapterHandle) -> Result<Opened, String> {
        match self {
            Self::There(fifo) => Ok(Opened { fifo, beside: Vec::new() }),
            Self::New(allowance) => {
                let opened = adapter.open_fifo_within(FIFO_MESSAGES, allowance);
                let (fifo, fds) = opened.map_err(|error| error.to_string())?;
                Ok(Opened { fifo, beside: fds.into_fds().into() })
            }
        }
    }
}

impl Opened {
    pub(super) fn fifo(&self) -> FifoId {
        self.fifo
    }

    /// Closes it again if it was opened for this, where that may wait.
    pub(super) fn close(self, adapter: &AdapterHandle) {
        if !self.beside.is_empty()
            && let Err(error) = adapter.close_fifo(self.fifo)
        {
            tracing::error!(%error, "cannot close a FIFO");
        }
    }
}

impl Server {
    /// How a client comes to a FIFO to an adapter.
    ///
    /// # Errors
    /// A sentence: this user has as many as he may.
    pub(super) fn open_fifo(
        &mut self,
        id: ClientId,
        wire: usize,
        each_second: u32,
    ) -> Result<Opening, String> {
        let client = self.clients.all.get(&id).ok_or("the client is gone")?;
        if let Some(fifo) = client.fifos.get(&wire) {
            return Ok(Opening::There(*fifo));
        }
        let owner = client.who.user;
        if self.clients.fifos_of(owner, wire) >= FIFOS_OF_USER {
            return Err(too_many());
        }
        Ok(Opening::New(Allowance { owner, each_second }))
    }

    /// Notes a client's FIFO; answers what the client must be given.
    pub(super) fn take_fifo(&mut self, id: ClientId, wire: usize, opened: Opened) -> Vec<OwnedFd> {
        if let Some(client) = self.clients.all.get_mut(&id)
            && !opened.beside.is_empty()
        {
            client.fifos.insert(wire, opened.fifo);
        }
        opened.beside
    }

    /// Closes a FIFO that was opened for nothing: its client never gets its end.
    pub(super) fn close_unused(&mut self, wire: usize, opened: Opened) {
        if !opened.beside.is_empty() {
            self.close_fifo(wire, opened.fifo);
        }
    }

    /// Refuses a FIFO that others of the same user have been given meanwhile.
    pub(super) fn still_room(
        &self,
        id: ClientId,
        wire: usize,
        opened: &Opened,
    ) -> Result<(), String> {
        let Some(client) = self.clients.all.get(&id) else { return Ok(()) };
        let full = self.clients.fifos_of(client.who.user, wire) >= FIFOS_OF_USER;
        if full && !opened.beside.is_empty() { Err(too_many()) } else { Ok(()) }
    }
}

fn too_many() -> String {
    format!("{FIFOS_OF_USER} connections of this user talk with this adapter, and no more can")
}
