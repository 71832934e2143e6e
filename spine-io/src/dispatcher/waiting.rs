//! Messages that wait for one extension, bounded by where they come from.
//!
//! Four sorts have room of their own: packets (a share of the adapter's frames), messages of the
//! application, messages of each peer adapter, and those of timers. So a flood of one sort costs that sort only: packets
//! do not crowd out the application's "swap", nor does one peer another. What a peer adapter may have is
//! shared by the extensions there that send, as a queue is (`share`): a flood of one leaves room for the
//! others.

use spine_abi::Endpoint;
use spine_abi::limits::{BURST, HOST_FIFO};

use super::share::{FrameShares, Threshold};
use crate::message::{Body, Pending};

/// Packets that wait for one extension at most.
const PACKETS: usize = 16 * BURST;
/// Messages of the application, likewise.
const FROM_HOST: usize = HOST_FIFO;
/// Messages of one peer adapter, likewise.
const FROM_PEER: usize = BURST;

/// What waits for one extension.
#[derive(Debug)]
pub(crate) struct Waiting {
    queue: Vec<Pending>,
    /// Small messages among them; the rest are packets.
    small: usize,
    from_host: usize,
    from_peers: Vec<Sender>,
}

/// One extension on a peer adapter, and how many of its messages wait.
#[derive(Debug)]
struct Sender {
    peer: u16,
    extension: u16,
    waiting: usize,
}

impl Waiting {
    pub(crate) fn new() -> Self {
        let queue = Vec::with_capacity(PACKETS);
        Self { queue, small: 0, from_host: 0, from_peers: Vec::new() }
    }

    /// How many packets wait.
    #[inline]
    pub(crate) fn packets(&self) -> usize {
        self.queue.len() - self.small
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether there is room for one more of this sort; the extension has `own` frames.
    #[inline]
    pub(crate) fn admits(&self, message: &Pending, own: usize, frames: &FrameShares) -> bool {
        match (&message.body, message.source) {
            (Body::Bulk(..), _) => self.packets() < PACKETS && frames.admits(own),
            (Body::Small(_), source) => self.has_room_from(source, message.sender),
        }
    }

    /// Whether there is room for one more small message from there; `sender` is the extension of a peer.
    #[inline]
    pub(crate) fn has_room_from(&self, source: Endpoint, sender: u16) -> bool {
        let Some(peer) = peer_of(source) else { return self.from_host < FROM_HOST };
        let (mut all, mut own) = (0, 0);
        for from in self.from_peers.iter().filter(|from| from.peer == peer) {
            all += from.waiting;
            own += if from.extension == sender { from.waiting } else { 0 };
        }
        Threshold::QUEUE.allows(own, FROM_PEER.saturating_sub(all))
    }

    /// Puts a message at the end.
    #[inline(always)]
    pub(crate) fn push(&mut self, message: Pending) {
        if matches!(message.body, Body::Small(_)) {
            *self.count(message.source, message.sender) += 1;
            self.small += 1;
        }
        self.queue.push(message);
    }

    /// Moves the `most` oldest to `burst`, which is empty.
    #[inline]
    pub(crate) fn take(&mut self, burst: &mut Vec<Pending>, most: usize) {
        if self.queue.len() <= most {
            std::mem::swap(&mut self.queue, burst);
        } else {
            burst.extend(self.queue.drain(..most));
        }
        if self.small > 0 {
            for message in burst.iter().filter(|message| matches!(message.body, Body::Small(_))) {
                let count = self.count(message.source, message.sender);
                *count -= 1;
                self.small -= 1;
            }
            self.from_peers.retain(|sender| sender.waiting > 0);
        }
    }

    /// Takes back what an entry did not reach, which is older than what waits, and what it passed on
    /// to another handler. Both are empty afterwards.
    #[inline]
    pub(crate) fn put_back(&mut self, unreached: &mut Vec<Pending>, passed: &mut Vec<Pending>) {
        for message in unreached.iter().chain(passed.iter()) {
            if matches!(message.body, Body::Small(_)) {
                *self.count(message.source, message.sender) += 1;
                self.small += 1;
            }
        }
        if !unreached.is_empty() {
            unreached.append(&mut self.queue);
            std::mem::swap(unreached, &mut self.queue);
        }
        self.queue.append(passed);
    }

    /// Takes all, for an extension that ends.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Pending> {
        (self.small, self.from_host) = (0, 0);
        self.from_peers.clear();
        self.queue.drain(..)
    }

    /// How many of this source wait.
    fn count(&mut self, source: Endpoint, extension: u16) -> &mut usize {
        let Some(peer) = peer_of(source) else { return &mut self.from_host };
        let known = |sender: &Sender| sender.peer == peer && sender.extension == extension;
        let place = self.from_peers.iter().position(known).unwrap_or_else(|| {
            self.from_peers.push(Sender { peer, extension, waiting: 0 });
            self.from_peers.len() - 1
        });
        &mut self.from_peers[place].waiting
    }
}

/// The peer that a message counts for: the runtime, whose timers have room of their own, is no adapter's number.
#[inline]
const fn peer_of(source: Endpoint) -> Option<u16> {
    match source {
        Endpoint::Peer(peer) => Some(peer),
        Endpoint::Runtime => Some(u16::MAX),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use spine_abi::{HandlerNumber, Message};

    use super::*;

    fn small(source: Endpoint, sender: u16) -> Pending {
        let message = Box::new(Message::small(HandlerNumber(1), source, &[]));
        Pending { handler: 0, hops: 0, touched: false, source, sender, body: Body::Small(message) }
    }

    /// Puts as many messages of a sender in as there is room for.
    fn fill(waiting: &mut Waiting, source: Endpoint, sender: u16) -> usize {
        let frames = FrameShares::new(1024);
        let admitted = |waiting: &mut Waiting| {
            let message = small(source, sender);
            waiting.admits(&message, 0, &frames).then(|| waiting.push(message)).is_some()
        };
        (0..1000).take_while(|_| admitted(waiting)).count()
    }

    #[test]
    fn a_flooding_peer_leaves_room_for_its_neighbour_for_other_peers_and_for_the_host() {
        let mut waiting = Waiting::new();
        let flood = fill(&mut waiting, Endpoint::Peer(5), 3);
        assert_eq!(flood, 52, "four fifths of {FROM_PEER}");
        assert_eq!(fill(&mut waiting, Endpoint::Peer(5), 4), 10, "of the 12 that are left");
        assert_eq!(fill(&mut waiting, Endpoint::Peer(1), 3), flood);
        assert_eq!(fill(&mut waiting, Endpoint::Host, 0), FROM_HOST);
        assert_eq!(waiting.packets(), 0);
    }

    #[test]
    fn counts_follow_messages_out_and_back() {
        let mut waiting = Waiting::new();
        let (mut burst, mut passed) = (Vec::new(), Vec::new());
        assert_eq!(fill(&mut waiting, Endpoint::Peer(2), 9), 52);
        waiting.push(small(Endpoint::Host, 0));
        waiting.take(&mut burst, 50);
        assert_eq!((burst.len(), waiting.queue.len()), (50, 3));
        assert_eq!(fill(&mut waiting, Endpoint::Peer(2), 9), 50);
        burst.truncate(40);
        passed.extend(burst.drain(..10));
        waiting.put_back(&mut burst, &mut passed);
        assert!(burst.is_empty() && passed.is_empty());
        assert_eq!(fill(&mut waiting, Endpoint::Peer(2), 9), 0);
        assert_eq!(waiting.drain().count(), 3 + 50 + 40);
        assert_eq!((waiting.packets(), waiting.from_host), (0, 0));
        assert_eq!(fill(&mut waiting, Endpoint::Peer(2), 9), 52);
    }
}
