//! Messages that wait for one extension, bounded by where they come from.
//!
//! Three sorts have room of their own: packets (a share of the adapter's frames), messages of the
//! application, and messages of each peer adapter. So a flood of one sort costs that sort only: packets
//! do not crowd out the application's "swap", nor does one peer's extension another's.

use spine_abi::Endpoint;
use spine_abi::limits::{BURST, HOST_FIFO};

use super::share::FrameShares;
use crate::extension::Pending;
use crate::extension::outcome::Body;

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
    from_peer: Vec<usize>,
}

impl Waiting {
    pub(crate) fn new() -> Self {
        let queue = Vec::with_capacity(PACKETS);
        Self { queue, small: 0, from_host: 0, from_peer: Vec::new() }
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
            (Body::Small(_), source) => self.has_room_from(source),
        }
    }

    /// Whether there is room for one more small message from there.
    #[inline]
    pub(crate) fn has_room_from(&self, source: Endpoint) -> bool {
        let Endpoint::Peer(peer) = source else { return self.from_host < FROM_HOST };
        self.from_peer.get(usize::from(peer)).is_none_or(|waiting| *waiting < FROM_PEER)
    }

    /// Puts a message at the end.
    #[inline]
    pub(crate) fn push(&mut self, message: Pending) {
        if matches!(message.body, Body::Small(_)) {
            *self.count(message.source) += 1;
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
                *self.count(message.source) -= 1;
                self.small -= 1;
            }
        }
    }

    /// Takes back what an entry did not reach, which is older than what waits, and what it passed on
    /// to another handler. Both are empty afterwards.
    #[inline]
    pub(crate) fn put_back(&mut self, unreached: &mut Vec<Pending>, passed: &mut Vec<Pending>) {
        for message in unreached.iter().chain(passed.iter()) {
            if matches!(message.body, Body::Small(_)) {
                *self.count(message.source) += 1;
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
        self.from_peer.clear();
        self.queue.drain(..)
    }

    /// How many of this source wait.
    fn count(&mut self, source: Endpoint) -> &mut usize {
        let Endpoint::Peer(peer) = source else { return &mut self.from_host };
        let place = usize::from(peer);
        if self.from_peer.len() <= place {
            self.from_peer.resize(place + 1, 0);
        }
        &mut self.from_peer[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spine_abi::{HandlerNumber, Message};

    fn small(source: Endpoint) -> Pending {
        let message = Box::new(Message::small(HandlerNumber(1), source, &[]));
        Pending { handler: 0, hops: 0, source, body: Body::Small(message) }
    }

    fn fill(waiting: &mut Waiting, source: Endpoint, frames: &FrameShares) -> usize {
        let admitted = |waiting: &mut Waiting| {
            let message = small(source);
            waiting.admits(&message, 0, frames).then(|| waiting.push(message)).is_some()
        };
        (0..1000).take_while(|_| admitted(waiting)).count()
    }

    #[test]
    fn a_flooding_peer_leaves_room_for_others_and_for_the_host() {
        let (mut waiting, frames) = (Waiting::new(), FrameShares::new(1024));
        assert_eq!(fill(&mut waiting, Endpoint::Peer(5), &frames), FROM_PEER);
        assert_eq!(fill(&mut waiting, Endpoint::Peer(1), &frames), FROM_PEER);
        assert_eq!(fill(&mut waiting, Endpoint::Host, &frames), FROM_HOST);
        assert_eq!(waiting.packets(), 0);
    }

    #[test]
    fn counts_follow_messages_out_and_back() {
        let (mut waiting, frames) = (Waiting::new(), FrameShares::new(1024));
        let (mut burst, mut passed) = (Vec::new(), Vec::new());
        fill(&mut waiting, Endpoint::Peer(2), &frames);
        waiting.push(small(Endpoint::Host));
        waiting.take(&mut burst, 60);
        assert_eq!(burst.len(), 60);
        assert_eq!(fill(&mut waiting, Endpoint::Peer(2), &frames), 60);
        burst.truncate(50);
        passed.extend(burst.drain(..10));
        let (first, last) = (burst.len(), waiting.queue.len());
        waiting.put_back(&mut burst, &mut passed);
        assert!(burst.is_empty() && passed.is_empty());
        assert_eq!(waiting.queue.len(), first + last + 10);
        assert_eq!(waiting.from_peer[2], FROM_PEER + 50);
        assert_eq!(waiting.drain().count(), FROM_PEER + 51);
        assert_eq!((waiting.packets(), waiting.from_host), (0, 0));
    }
}
