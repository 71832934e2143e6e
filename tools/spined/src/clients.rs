//! The clients: who they are, what they are owed, and which FIFOs they have.
//!
//! A client that does not read what it is sent is not waited for: answers wait for it, and no more of its
//! requests are read meanwhile; what it is told beyond [`OUTBOX`] is lost.
//!
//! Messages go between clients and adapters without the daemon: all it has of them are the names of their
//! FIFOs, to close them with the connection.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::unistd::{Gid, Uid, User, getgrouplist};
use serde::Serialize;
use spine_client::daemon::protocol::encode;
use spine_client::daemon::socket::{Connection, Peer};
use spine_io::FifoId;

/// The number of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClientId(u64);

/// Connections at one time, and those of one user.
pub(crate) const CLIENTS: usize = 256;
pub(crate) const CLIENTS_OF_USER: usize = 32;
/// FIFOs to one adapter, of one user: an adapter has 63 for all.
pub(crate) const FIFOS_OF_USER: usize = 16;
/// Packets that wait for one client, at most.
const OUTBOX: usize = 256;

/// A user, as far as the policy asks.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) user: u32,
    pub(crate) name: String,
    pub(crate) groups: Vec<u32>,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) connection: Connection,
    pub(crate) who: Who,
    /// Whether it has said hello.
    pub(crate) greeted: bool,
    /// Whether a job of its is under way: its next request waits.
    pub(crate) busy: bool,
    /// Its FIFOs, by the position of their interfaces.
    pub(crate) fifos: BTreeMap<usize, FifoId>,
    outbox: VecDeque<Packet>,
}

/// What waits to be sent: bytes, and what goes beside them.
type Packet = (Vec<u8>, Vec<OwnedFd>);

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    last: u64,
    pub(crate) all: BTreeMap<ClientId, Client>,
}

impl Who {
    /// What the user database says of a peer. Who is not in it has his number and his one group.
    pub(crate) fn look_up(peer: Peer) -> Self {
        let mut groups = vec![peer.group];
        let mut name = format!("user {}", peer.user);
        if let Ok(Some(user)) = User::from_uid(Uid::from_raw(peer.user)) {
            if let Ok(c_name) = std::ffi::CString::new(user.name.as_str())
                && let Ok(more) = getgrouplist(&c_name, Gid::from_raw(peer.group))
            {
                groups.extend(more.into_iter().map(Gid::as_raw));
            }
            name = user.name;
        }
        Self { user: peer.user, name, groups }
    }
}

impl Client {
    /// Whether nothing waits to be sent to it.
    pub(crate) fn is_served(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Sends a packet, or keeps it until there is room: an answer.
    ///
    /// # Errors
    /// The client has gone, or cannot be told.
    pub(crate) fn say(&mut self, said: &impl Serialize) -> io::Result<()> {
        self.say_with(said, Vec::new())
    }

    /// The same with descriptors beside it.
    ///
    /// # Errors
    /// As [`say`](Self::say).
    pub(crate) fn say_with(
        &mut self,
        said: &impl Serialize,
        beside: Vec<OwnedFd>,
    ) -> io::Result<()> {
        let packet = (encode(said).map_err(io::Error::other)?, beside);
        if self.outbox.is_empty() {
            match self.try_send(&packet) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent,
            }
        }
        self.outbox.push_back(packet);
        Ok(())
    }

    fn try_send(&self, (bytes, beside): &Packet) -> io::Result<()> {
        let beside: Vec<BorrowedFd<'_>> = beside.iter().map(|fd| fd.as_fd()).collect();
        self.connection.try_send(bytes, &beside)
    }

    /// The same for what may be lost; says whether it was not.
    ///
    /// # Errors
    /// As [`say`](Self::say).
    pub(crate) fn tell(&mut self, said: &impl Serialize) -> io::Result<bool> {
        if self.outbox.len() >= OUTBOX {
            return Ok(false);
        }
        self.say(said).map(|()| true)
    }

    /// Sends what waits, as far as there is room.
    ///
    /// # Errors
    /// The client has gone.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while let Some(packet) = self.outbox.front() {
            match self.try_send(packet) {
                Ok(()) => drop(self.outbox.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Clients {
    /// Takes a connection in; `None` where there are too many, of all users or of this one.
    pub(crate) fn admit(&mut self, connection: Connection, peer: Peer) -> Option<ClientId> {
        let same = self.all.values().filter(|client| client.who.user == peer.user).count();
        if self.all.len() >= CLIENTS || same >= CLIENTS_OF_USER {
            return None;
        }
        self.last += 1;
        let id = ClientId(self.last);
        let who = Who::look_up(peer);
        let (greeted, busy, fifos, outbox) = (false, false, BTreeMap::new(), VecDeque::new());
        self.all.insert(id, Client { connection, who, greeted, busy, fifos, outbox });
        Some(id)
    }

    /// Forgets a connection.
    pub(crate) fn remove(&mut self, id: ClientId) -> Option<Client> {
        self.all.remove(&id)
    }

    /// FIFOs that a user has to the adapter of an interface.
    pub(crate) fn fifos_of(&self, user: u32, wire: usize) -> usize {
        let same = self.all.values().filter(|client| client.who.user == user);
        same.filter(|client| client.fifos.contains_key(&wire)).count()
    }

    /// Whose a FIFO to the adapter of an interface is.
    pub(crate) fn user_of(&self, wire: usize, fifo: FifoId) -> Option<u32> {
        let owner = self.all.values().find(|client| client.fifos.get(&wire) == Some(&fifo));
        owner.map(|client| client.who.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_does_not_read_is_not_waited_for() {
        let (ours, theirs) = Connection::pair().expect("a pair");
        let peer = Peer { process: 0, user: 4_000_000, group: 7 };
        let mut clients = Clients::default();
        let id = clients.admit(ours, peer).expect("room");
        let client = clients.all.get_mut(&id).expect("there");
        assert_eq!((client.who.name.as_str(), &client.who.groups), ("user 4000000", &vec![7]));
        let large = "x".repeat(60_000);
        let told = (0..1000).filter(|_| client.tell(&large).expect("there")).count();
        assert!((OUTBOX..1000).contains(&told), "{told} were taken");
        assert!(!client.is_served());
        drop(theirs);
        assert!(client.flush().is_err());
        assert!(clients.remove(id).is_some());
    }

    #[test]
    fn one_user_cannot_take_every_connection() {
        let mut clients = Clients::default();
        let mut ends = Vec::new();
        let mut admit = |clients: &mut Clients, user| {
            let (ours, theirs) = Connection::pair().expect("a pair");
            ends.push(theirs);
            clients.admit(ours, Peer { process: 0, user, group: 7 })
        };
        let taken = (0..100).filter(|_| admit(&mut clients, 4_000_000).is_some()).count();
        assert_eq!(taken, CLIENTS_OF_USER);
        assert!(admit(&mut clients, 4_000_001).is_some());
    }
}
