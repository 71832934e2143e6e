//! The peer endpoint: packets and messages to other adapters, by descriptor over lock-free rings.
//!
//! Between each two adapters of a process run three single-producer, single-consumer rings each way:
//! packets to be sent, frames on their way home, and small messages. A packet crosses without a
//! copy; whoever sent it returns the frame to its home. The rings home are as large as all frames of
//! a home together, so returning a frame never fails.

use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};
use spine_abi::Message;
use spine_nic::buffer::Frame;

use crate::doorbell::Doorbell;
use crate::extension::Owner;

/// Packets that wait between two adapters at most.
pub const PEER_PACKETS: usize = 2048;
/// Small messages that wait between two adapters at most.
pub const PEER_MESSAGES: usize = 64;

/// A small message of an extension on another adapter.
pub(crate) struct PeerMessage {
    /// The number of that extension.
    pub(crate) sender: u16,
    /// Whose it is.
    pub(crate) owner: Option<Arc<Owner>>,
    pub(crate) message: Message,
}

/// One adapter's side of the rings to and from one other.
pub struct Peer {
    /// Packets for its wire.
    pub(crate) packets: Producer<Frame>,
    /// Its frames, going home.
    pub(crate) home: Producer<Frame>,
    /// Messages for its handlers.
    pub(crate) messages: Producer<PeerMessage>,
    /// Wakes its processor.
    pub(crate) doorbell: Arc<Doorbell>,
    /// Packets from it for our wire.
    pub(crate) from: Consumer<Frame>,
    /// Our frames, coming home from it.
    pub(crate) returned: Consumer<Frame>,
    /// Messages from it.
    pub(crate) received: Consumer<PeerMessage>,
}

/// What an adapter knows of the others: its own place is empty.
pub type Peers = Vec<Option<Peer>>;

struct Sending {
    packets: Producer<Frame>,
    home: Producer<Frame>,
    messages: Producer<PeerMessage>,
}

struct Receiving {
    from: Consumer<Frame>,
    returned: Consumer<Frame>,
    received: Consumer<PeerMessage>,
}

/// Connects adapters with each other: `bells[i]` wakes the processor of adapter `i`; `frames` is how
/// many frames each is home to.
pub fn mesh(bells: &[Arc<Doorbell>], frames: usize) -> Vec<Peers> {
    let count = bells.len();
    let mut sets: Vec<Peers> = (0..count).map(|_| (0..count).map(|_| None).collect()).collect();
    for a in 0..count {
        for b in a + 1..count {
            let ((to_b, from_a), (to_a, from_b)) = (way(frames), way(frames));
            sets[a][b] = Some(side(to_b, from_b, &bells[b]));
            sets[b][a] = Some(side(to_a, from_a, &bells[a]));
        }
    }
    sets
}

/// The rings of one direction, by their ends.
fn way(frames: usize) -> (Sending, Receiving) {
    let (packets, from) = RingBuffer::new(PEER_PACKETS);
    let (home, returned) = RingBuffer::new(frames.max(1));
    let (messages, received) = RingBuffer::new(PEER_MESSAGES);
    (Sending { packets, home, messages }, Receiving { from, returned, received })
}

fn side(sending: Sending, receiving: Receiving, doorbell: &Arc<Doorbell>) -> Peer {
    let Sending { packets, home, messages } = sending;
    let Receiving { from, returned, received } = receiving;
    let doorbell = Arc::clone(doorbell);
    Peer { packets, home, messages, doorbell, from, returned, received }
}

impl Peer {
    /// Whether something from it waits for us.
    #[inline]
    pub(crate) fn has_something(&self) -> bool {
        !self.from.is_empty() || !self.returned.is_empty() || !self.received.is_empty()
    }
}
