//! The clients: who they are, what they are owed, and which FIFOs they have.
//!
//! A client that does not read what it is sent is not waited for: answers wait for it, and no more of its
//! requests are read meanwhile; what it is told beyond [`OUTBOX`] is lost.
//!
//! **The door.** Anybody may connect, so connections are what strangers can take from others: a user may have as
//! many as are left for all of his standing, so each who comes first finds one ([`Clients::admit`]); some are kept
//! for root, most for users whom a grant names, and the others have few. Who says no hello within
//! [`PATIENCE`] is closed.
//!
//! Messages go between clients and adapters without the daemon: all it has of them are the names of their
//! FIFOs, to close them with the connection.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Uid, User, getgrouplist};
use serde::Serialize;
use spine_client::daemon::protocol::{FromDaemon, encode};
use spine_client::daemon::socket::{Connection, Peer};
use spine_io::FifoId;
use spine_policy::Policy;

/// The number of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClientId(u64);

impl ClientId {
    /// As adapters know it.
    pub(crate) const fn number(self) -> u64 {
        self.0
    }
}

/// Connections at one time, and those of one user.
pub(crate) const CLIENTS: usize = 256;
pub(crate) const CLIENTS_OF_USER: usize = 32;
/// Of all connections, those that nobody but root can have.
const FOR_ROOT: usize = CLIENTS_OF_USER;
/// Connections of all users together whom no grant names, and those of one of them.
const STRANGERS: usize = 32;
const OF_STRANGER: usize = 4;
const _: () = assert!(FOR_ROOT + STRANGERS < CLIENTS, "the most are for users with a grant");
/// How long a client may take to say hello.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// FIFOs to one adapter, of one user: an adapter has 63 for all.
pub(crate) const FIFOS_OF_USER: usize = 16;
/// Packets that wait for one client, at most.
const OUTBOX: usize = 256;

/// How a user stands with the policy: who goes first, and who may have how much of what all share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    Root,
    /// A grant names him, or a group of his.
    Granted,
    /// None does; what an author signed may still be granted to him.
    Stranger,
}

impl Standing {
    /// Connections that all of this standing may have together, and one user of them.
    const fn places(self) -> (usize, usize) {
        match self {
            Self::Root => (CLIENTS, CLIENTS_OF_USER),
            Self::Granted => (CLIENTS - FOR_ROOT - STRANGERS, CLIENTS_OF_USER),
            Self::Stranger => (STRANGERS, OF_STRANGER),
        }
    }
}

/// A user, as far as the policy asks.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) user: u32,
    pub(crate) name: String,
    pub(crate) groups: Vec<u32>,
    pub(crate) standing: Standing,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) connection: Connection,
    pub(crate) who: Who,
    /// The group it came with.
    group: u32,
    /// When it came.
    came: Instant,
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
    /// What the user database and the policy say of a peer. Who is not in the database has his number and his one
    /// group.
    fn look_up(peer: Peer, policy: &Policy) -> Self {
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
        let mut who = Self { user: peer.user, name, groups, standing: Standing::Stranger };
        who.stand(policy);
        who
    }

    /// Takes in what the policy says now.
    pub(crate) fn stand(&mut self, policy: &Policy) {
        self.standing = match self.user {
            0 => Standing::Root,
            user if policy.names(user, &self.groups) => Standing::Granted,
            _ => Standing::Stranger,
        };
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
    /// Takes a connection in. A user may have as many as are left for all of his standing.
    ///
    /// # Errors
    /// There is no place for it: it was told so, in the sentence that comes back, and closed.
    pub(crate) fn admit(
        &mut self,
        connection: Connection,
        peer: Peer,
        policy: &Policy,
    ) -> Result<ClientId, String> {
        let who = self.who(peer, policy);
        if let Some(why) = self.no_place(&who) {
            let said = encode(&FromDaemon::Refused { id: 0, why: why.clone() });
            // It may have gone already.
            let _ = said.map(|bytes| connection.try_send(&bytes, &[]));
            return Err(why);
        }
        self.last += 1;
        let id = ClientId(self.last);
        let (greeted, busy, fifos, outbox) = (false, false, BTreeMap::new(), VecDeque::new());
        let (group, came) = (peer.group, Instant::now());
        let client = Client { connection, who, group, came, greeted, busy, fifos, outbox };
        self.all.insert(id, client);
        Ok(id)
    }

    /// Who a peer is. The user database is not read again for who is here already: who knocks without end must not
    /// have it read without end.
    fn who(&self, peer: Peer, policy: &Policy) -> Who {
        let here = self
            .all
            .values()
            .find(|client| (client.who.user, client.group) == (peer.user, peer.group));
        here.map_or_else(|| Who::look_up(peer, policy), |client| client.who.clone())
    }

    /// Why there is no place for one more of this user.
    fn no_place(&self, who: &Who) -> Option<String> {
        let (most, of_user) = who.standing.places();
        let alike = self.all.values().filter(|client| client.who.standing == who.standing);
        let left = most.saturating_sub(alike.count());
        let same = self.all.values().filter(|client| client.who.user == who.user).count();
        if same < of_user.min(left) {
            return None;
        }
        let few = if who.standing == Standing::Stranger {
            " (the policy names none of this user in a grant)"
        } else {
            ""
        };
        Some(match same {
            0 => format!("too many connections: none is left for {}{few}", who.name),
            _ => {
                format!("too many connections: {} has {same}, and no more are left{few}", who.name)
            }
        })
    }

    /// Those that have not said hello although they had until then.
    pub(crate) fn silent(&self, now: Instant) -> Vec<ClientId> {
        let silent = |client: &Client| !client.greeted && client.came + PATIENCE <= now;
        self.all.iter().filter(|(_, client)| silent(client)).map(|(id, _)| *id).collect()
    }

    /// When the next one has been silent for too long.
    pub(crate) fn hello_due(&self) -> Option<Instant> {
        let silent = self.all.values().filter(|client| !client.greeted);
        silent.map(|client| client.came + PATIENCE).min()
    }

    /// Takes in that the policy is another one.
    pub(crate) fn stand(&mut self, policy: &Policy) {
        for client in self.all.values_mut() {
            client.who.stand(policy);
        }
    }

    /// Forgets a connection.
    pub(crate) fn remove(&mut self, id: ClientId) -> Option<Client> {
        self.all.remove(&id)
    }

    /// Descriptors that the connections of each user hold: the socket, and an adapter's end of each FIFO's doorbell.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (u32, usize)> {
        self.all.values().map(|client| (client.who.user, 1 + client.fifos.len()))
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
        let id = clients.admit(ours, peer, &Policy::default()).expect("room");
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

    /// A policy that names one user and one group.
    fn policy() -> Policy {
        let text = ["user = 4000001", "group = 8"]
            .map(|who| format!("[[grant]]\n{who}\ninterfaces = [\"*\"]\ndomains = [\"net\"]\n"));
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text.concat()).expect("written");
        Policy::read(file.path()).expect("a policy")
    }

    /// The door, and the far ends of those who came in.
    struct Door {
        clients: Clients,
        policy: Policy,
        ends: Vec<Connection>,
    }

    impl Door {
        fn new() -> Self {
            Self { clients: Clients::default(), policy: policy(), ends: Vec::new() }
        }

        /// How many of so many knocks were answered by opening.
        fn knock(&mut self, times: usize, user: u32, group: u32) -> usize {
            let admitted = (0..times).filter(|_| {
                let (ours, theirs) = Connection::pair().expect("a pair");
                let peer = Peer { process: 0, user, group };
                let admitted = self.clients.admit(ours, peer, &self.policy).is_ok();
                self.ends.push(theirs);
                admitted
            });
            admitted.count()
        }
    }

    #[test]
    fn strangers_however_many_leave_the_places_of_root_and_of_who_has_a_grant() {
        let mut door = Door::new();
        let strangers: usize = (0..1000).map(|more| door.knock(6, 5_000_000 + more, 7)).sum();
        assert_eq!(strangers, STRANGERS);
        assert_eq!(door.knock(40, 4_000_001, 7), CLIENTS_OF_USER, "named");
        let greedy: Vec<usize> = (0..40).map(|more| door.knock(40, 6_000_000 + more, 8)).collect();
        let places = CLIENTS - FOR_ROOT - STRANGERS - CLIENTS_OF_USER;
        assert!(
            greedy.iter().sum::<usize>() <= places && greedy[0] == CLIENTS_OF_USER,
            "{greedy:?}"
        );
        assert!(greedy[..7].iter().all(|taken| *taken > 0), "each leaves some: {greedy:?}");
        assert_eq!(door.knock(40, 0, 0), CLIENTS_OF_USER, "root finds its own");
        assert!(door.clients.all.len() <= CLIENTS);
    }

    #[test]
    fn who_is_not_let_in_is_told_why() {
        let mut door = Door::new();
        assert_eq!(door.knock(OF_STRANGER + 1, 5_000_000, 7), OF_STRANGER);
        let last = door.ends.last().expect("the one outside");
        let received = last.try_receive().expect("a socket");
        let spine_client::daemon::socket::Received::Packet(packet) = received else {
            panic!("{received:?}")
        };
        let text = String::from_utf8(packet.bytes).expect("text");
        assert!(
            text.contains("user 5000000 has 4, and no more are left (the policy names"),
            "{text}"
        );
    }

    #[test]
    fn who_says_no_hello_is_silent_and_who_said_it_never_is() {
        let mut door = Door::new();
        assert_eq!(door.knock(2, 0, 0), 2);
        let greeted = *door.clients.all.keys().next().expect("the first");
        let due = door.clients.hello_due().expect("two that are silent");
        door.clients.all.get_mut(&greeted).expect("there").greeted = true;
        assert!(door.clients.silent(due - PATIENCE).is_empty(), "not yet");
        let silent = door.clients.silent(due + PATIENCE);
        assert!(silent.len() == 1 && silent[0] != greeted);
        door.clients.remove(silent[0]);
        assert_eq!(door.clients.hello_due(), None);
    }

    #[test]
    fn a_grant_that_comes_or_goes_changes_how_one_stands() {
        let mut door = Door::new();
        assert_eq!(door.knock(1, 5_000_000, 8), 1);
        let standing = |door: &Door| door.clients.all.values().next().expect("one").who.standing;
        assert_eq!(standing(&door), Standing::Granted, "by a group");
        door.clients.stand(&Policy::default());
        assert_eq!(standing(&door), Standing::Stranger);
    }
}
