//! Endpoints on other machines, addressed like local ones (SPINE 3, 8).
//!
//! Messages travel through the adapters: directly on a link under an EtherType of their own, or by UDP
//! beyond it. Between a pair of endpoints they arrive in order and exactly once, sealed with the pair's
//! key; see `peering` for the session, `seal` for the key, `stream` for the order. To an extension a
//! remote endpoint is one more peer: its numbers follow those of the local adapters.
//!
//! Left out: bulk messages (the data of a packet does not follow its message to another machine), and
//! finding each other: addresses and keys are configured.

mod limits;
mod packet;
mod peering;
mod seal;
mod stream;

use spine_abi::Message;

pub use self::packet::{ETHERTYPE, RemoteAddress};
pub use self::peering::{PeeringStatistics, Role};
pub use self::seal::PairKey;

use self::limits::Limits;
use self::peering::Peering;
use spine_abi::Nanos;

/// An endpoint on another machine, as configured.
#[derive(Debug, Clone)]
pub struct RemoteSetup {
    /// How its packets and ours are addressed.
    pub address: RemoteAddress,
    /// The key shared with it.
    pub key: PairKey,
}

struct Remote {
    address: RemoteAddress,
    peering: Peering,
}

/// All remote endpoints of one adapter.
#[derive(Default)]
pub struct Remotes {
    all: Vec<Remote>,
    /// What they may have us do together.
    limits: Limits,
}

impl Remotes {
    /// The endpoints in `setups`, numbered in this order.
    pub fn new(setups: Vec<RemoteSetup>) -> Self {
        let remote = |setup: RemoteSetup| Remote {
            peering: Peering::new(setup.address.role(), setup.key),
            address: setup.address,
        };
        Self { all: setups.into_iter().map(remote).collect(), limits: Limits::default() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// How many messages wait for one of them, and how many can.
    pub fn queue(&self, index: usize) -> Option<(usize, usize)> {
        Some((self.all.get(index)?.peering.unacknowledged(), stream::QUEUE))
    }

    /// Whether messages are ready to be handed over.
    pub fn has_arrived(&self) -> bool {
        self.all.iter().any(|remote| remote.peering.has_arrived())
    }

    /// Takes a message for one of them; false if there is no such endpoint, or too many are on their
    /// way to it.
    pub fn send(&mut self, index: usize, message: Message) -> bool {
        self.all.get_mut(index).is_some_and(|remote| remote.peering.send(message))
    }

    /// Takes a packet from the wire; false if it is from none of them, and is somebody else's.
    pub fn receive(&mut self, packet: &[u8], now: Nanos) -> bool {
        for remote in &mut self.all {
            if let Some(frame) = remote.address.payload(packet) {
                remote.peering.receive(frame, now, &mut self.limits);
                return true;
            }
        }
        false
    }

    /// Whether a packet that none of them [sent](Self::receive) is of the kind that only they send here.
    pub fn is_stray(&self, packet: &[u8]) -> bool {
        self.all.iter().any(|remote| remote.address.is_alike(packet))
    }

    /// Hands over what has arrived: the endpoint's number and the message, in order for each, until
    /// `deliver` answers that it can take no more of that one. Says whether anything was.
    pub fn deliver(&mut self, mut deliver: impl FnMut(usize, &Message) -> bool) -> bool {
        let mut moved = false;
        for (index, remote) in self.all.iter_mut().enumerate() {
            moved |= remote.peering.deliver(|message| deliver(index, message));
        }
        moved
    }

    /// Hands every packet that is due to `emit`, whole, until that answers that it can take no more.
    /// Says whether there was one.
    pub fn poll(&mut self, now: Nanos, mut emit: impl FnMut(&[u8]) -> bool) -> bool {
        let mut moved = false;
        for Remote { address, peering } in &mut self.all {
            moved |= peering.poll(now, |frame| address.packet(frame, &mut emit));
        }
        moved
    }

    /// When [`poll`](Self::poll) has something to do next, if nothing arrives before.
    pub fn deadline(&self, now: Nanos) -> Option<Nanos> {
        self.all.iter().filter_map(|remote| remote.peering.deadline(now)).min()
    }

    /// What was counted, endpoint by endpoint.
    pub fn statistics(&self) -> impl Iterator<Item = PeeringStatistics> {
        self.all.iter().map(|remote| remote.peering.statistics())
    }
}

#[cfg(test)]
mod tests;
