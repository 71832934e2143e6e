//! The peer endpoint: packets and messages to other adapters, by descriptor over lock-free rings.
//!
//! Between each two adapters of a process run three single-producer, single-consumer rings each way:
//! packets to be sent, frames on their way home, and small messages. A packet crosses without a
//! copy; whoever sent it returns the frame to its home. The rings home are as large as all frames of
//! a home together, so returning a frame never fails.

use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};
use spine_abi::Message;

use crate::buffer::Frame;
use crate::processor::doorbell::Doorbell;

/// Packets that wait between two adapters at most.
pub const PEER_PACKETS: usize = 2048;
/// Small messages that wait between two adapters at most.
pub const PEER_MESSAGES: usize = 64;

/// One adapter's side of the rings to and from one other.
pub struct Peer {
    /// Packets for its wire.
    pub(crate) packets: Producer<Frame>,
    /// Its frames, going home.
    pub(crate) home: Producer<Frame>,
    /// Messages for its handlers.
    pub(crate) messages: Producer<Message>,
    /// Wakes its processor.
    pub(crate) doorbell: Arc<Doorbell>,
    /// Packets from it for our wire.
    pub(crate) from: Consumer<Frame>,
    /// Our frames, coming home from it.
    pub(crate) returned: Consumer<Frame>,
    /// Messages from it.
    pub(crate) received: Consumer<Message>,
}

/// What an adapter knows of the others: its own place is empty.
pub type Peers = Vec<Option<Peer>>;

struct Way {
    packets: (Producer<Frame>, Consumer<Frame>),
    home: (Producer<Frame>, Consumer<Frame>),
    messages: (Producer<Message>, Consumer<Message>),
}

/// Connects adapters with each other: `bells[i]` wakes the processor of adapter `i`; `frames` is how
/// many frames each is home to.
pub fn mesh(bells: &[Arc<Doorbell>], frames: usize) -> Vec<Peers> {
    let count = bells.len();
    let mut sets: Vec<Peers> = (0..count).map(|_| (0..count).map(|_| None).collect()).collect();
    let way = || Way {
        packets: RingBuffer::new(PEER_PACKETS),
        home: RingBuffer::new(frames.max(1)),
        messages: RingBuffer::new(PEER_MESSAGES),
    };
    for a in 0..count {
        for b in a + 1..count {
            let (ab, ba) = (way(), way());
            sets[a][b] = Some(Peer {
                packets: ab.packets.0,
                home: ab.home.0,
                messages: ab.messages.0,
                doorbell: Arc::clone(&bells[b]),
                from: ba.packets.1,
                returned: ba.home.1,
                received: ba.messages.1,
            });
            sets[b][a] = Some(Peer {
                packets: ba.packets.0,
                home: ba.home.0,
                messages: ba.messages.0,
                doorbell: Arc::clone(&bells[a]),
                from: ab.packets.1,
                returned: ab.home.1,
                received: ab.messages.1,
            });
        }
    }
    sets
}

impl Peer {
    /// Whether something from it waits for us.
    #[inline]
    pub(crate) fn has_something(&self) -> bool {
        !self.from.is_empty() || !self.returned.is_empty() || !self.received.is_empty()
    }
}
