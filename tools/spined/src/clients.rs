//! The clients: who they are, what they are owed, and how fast they may be.
//!
//! A client that does not read what it is sent is not waited for: answers wait for it, and no more of its
//! requests are read meanwhile; messages beyond [`OUTBOX`] are lost, and counted.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::time::Instant;

use nix::unistd::{Gid, Uid, User, getgrouplist};
use serde::Serialize;
use spine_os::daemon::protocol::encode;
use spine_os::daemon::socket::{Connection, Peer};

/// The number of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClientId(u64);

/// Connections at one time, and those of one user.
pub(crate) const CLIENTS: usize = 256;
pub(crate) const CLIENTS_OF_USER: usize = 32;
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
    outbox: VecDeque<Vec<u8>>,
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    last: u64,
    pub(crate) all: BTreeMap<ClientId, Client>,
    buckets: HashMap<u32, Bucket>,
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
        let bytes = encode(said).map_err(io::Error::other)?;
        if self.outbox.is_empty() {
            match self.connection.try_send(&bytes, &[]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent,
            }
        }
        self.outbox.push_back(bytes);
        Ok(())
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
        while let Some(bytes) = self.outbox.front() {
            match self.connection.try_send(bytes, &[]) {
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
        let (greeted, busy, outbox) = (false, false, VecDeque::new());
        self.all.insert(id, Client { connection, who, greeted, busy, outbox });
        Some(id)
    }

    /// Forgets a connection.
    pub(crate) fn remove(&mut self, id: ClientId) -> Option<Client> {
        let gone = self.all.remove(&id)?;
        if self.all.values().all(|client| client.who.user != gone.who.user) {
            self.buckets.remove(&gone.who.user);
        }
        Some(gone)
    }

    /// Whether a user may send one more message now, of so many each second.
    pub(crate) fn may_send(&mut self, user: u32, each_second: u32) -> bool {
        self.buckets.entry(user).or_default().take(each_second, Instant::now())
    }
}

/// Messages a user has saved up: at most those of one second.
#[derive(Debug, Default)]
struct Bucket {
    saved: f64,
    filled: Option<Instant>,
}

impl Bucket {
    fn take(&mut self, each_second: u32, now: Instant) -> bool {
        let rate = f64::from(each_second);
        self.saved = match self.filled {
            None => rate,
            Some(before) => {
                let gained = now.saturating_duration_since(before).as_secs_f64() * rate;
                (self.saved + gained).min(rate)
            }
        };
        self.filled = Some(now);
        if self.saved < 1.0 {
            return false;
        }
        self.saved -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_user_sends_so_many_messages_a_second_and_saves_up_no_more() {
        let mut bucket = Bucket::default();
        let start = Instant::now();
        let taken = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.take(10, now)).count();
        assert_eq!(taken(&mut bucket, start), 10);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(500)), 5);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(60)), 10);
        let nothing = Bucket::default().take(0, start);
        assert!(!nothing, "a limit of zero");
    }

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
