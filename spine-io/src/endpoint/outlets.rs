//! Everything a message can leave an adapter by, with the queues in front of each.
//!
//! A verdict only puts a frame in a queue here; the send event moves the queues on in bulk. All
//! queues are bounded, what does not fit is dropped under a reason, and a dropped frame goes home.

use std::collections::VecDeque;
use std::sync::Arc;

use rtrb::Producer;
use spine_abi::limits::{BURST, EXTENSIONS};
use spine_abi::verdict::Finish;
use spine_abi::{Message, Nanos, Reason, Verdict};
use spine_nic::buffer::{Frame, FrameMemory, Pool};
use spine_nic::checksum::complete_checksum;
use spine_nic::punt::KernelPort;
use spine_nic::{End, Nic};
use spine_remote::Remotes;

use super::Fifos;
use super::peer::{PEER_MESSAGES, Peer, PeerMessage, Peers};
use crate::dispatcher::share::Ledger;
use crate::extension::Instance;
use crate::id::FifoId;
use crate::message::{Body, Outcome, Pending, Settle};
use crate::reference::Kept;
use crate::stats::Counters;

/// Packets that wait for a full transmit queue at most.
const BACKLOG: usize = 1024;
/// Whose share of the queue to the kernel packets take that are for no extension: a number that none has.
#[expect(clippy::cast_possible_truncation, reason = "a constant far below 2^16")]
pub(crate) const NOBODY: u16 = EXTENSIONS as u16;

/// The ways out of one adapter.
pub(crate) struct Outlets {
    pub(crate) nic: Box<dyn Nic>,
    pub(crate) memory: Arc<FrameMemory>,
    pub(crate) pool: Pool,
    pub(crate) peers: Peers,
    /// Endpoints on other machines: more peers, numbered after the local ones.
    pub(crate) remotes: Remotes,
    pub(crate) kernel: Option<Box<dyn KernelPort>>,
    pub(crate) hosts: Fifos,
    pub(crate) counters: Counters,
    /// For our own wire.
    wire: VecDeque<Frame>,
    /// For each peer's wire.
    to_peer: Vec<VecDeque<Frame>>,
    /// Frames of others, on their way home.
    homeward: Vec<VecDeque<Frame>>,
    scratch: Vec<Frame>,
    /// Packets that ended here and whose buffers are not lent to the wire again yet.
    pub(crate) ended: usize,
    /// Which extension has what in the queues to each peer and to the kernel.
    in_peer: Vec<Ledger>,
    in_kernel: Ledger,
}

impl Outlets {
    pub(crate) fn new(
        nic: Box<dyn Nic>,
        memory: Arc<FrameMemory>,
        pool: Pool,
        peers: Peers,
        remotes: Remotes,
        kernel: Option<Box<dyn KernelPort>>,
        hosts: Fifos,
    ) -> Self {
        let queues = || (0..peers.len()).map(|_| VecDeque::with_capacity(BURST)).collect();
        Self {
            in_peer: (0..peers.len() + remotes.len()).map(|_| Ledger::default()).collect(),
            in_kernel: Ledger::default(),
            to_peer: queues(),
            homeward: queues(),
            nic,
            memory,
            pool,
            peers,
            remotes,
            kernel,
            hosts,
            counters: Counters::default(),
            wire: VecDeque::with_capacity(BACKLOG),
            scratch: Vec::with_capacity(4 * BURST),
            ended: 0,
        }
    }

    /// A frame nobody needs any more.
    #[inline]
    pub(crate) fn free(&mut self, frame: Frame) {
        if let Some(stranger) = self.pool.put(frame) {
            self.homeward[usize::from(stranger.home())].push_back(stranger);
        }
    }

    /// A packet that an extension was finished with.
    pub(crate) fn consume(&mut self, frame: Frame) {
        self.counters.consumed += 1;
        self.ended += 1;
        self.free(frame);
    }

    /// A packet that ends here.
    #[inline]
    pub(crate) fn drop(&mut self, frame: Frame, reason: Reason) {
        self.counters.dropped.add(reason, 1);
        self.nic.ended(self.memory.packet(&frame), End::Dropped(reason));
        self.ended += 1;
        self.free(frame);
    }

    /// Does what the outcomes of this extension say.
    pub(crate) fn settling(&mut self, extension: u16) -> Settling<'_> {
        Settling { out: self, extension }
    }

    #[inline]
    fn finish(&mut self, frame: &mut Frame, finish: Finish) {
        if finish.length != 0 {
            let length = finish.length.min(frame.len());
            self.memory.set_packet(frame, frame.offset(), length);
        }
        if let Some(request) = finish.checksum
            && complete_checksum(self.memory.packet_mut(frame), request)
        {
            self.counters.checksums_completed += 1;
        }
    }

    #[inline]
    fn forward(&mut self, frame: Frame, peer: u16) {
        match self.to_peer.get_mut(usize::from(peer)) {
            Some(queue) if self.peers[usize::from(peer)].is_some() => queue.push_back(frame),
            _ => self.drop(frame, Reason::NoPeer),
        }
    }

    fn hand_over(&mut self, extension: u16, mut frame: Frame, reason: Reason, finish: Finish) {
        let queue = self.kernel.as_ref().and_then(|kernel| kernel.queue());
        if let Some(queue) = queue
            && queue.waiting < queue.capacity
            && !self.in_kernel.admits(extension, queue.waiting, queue.capacity)
        {
            return self.drop(frame, Reason::OverShare);
        }
        self.finish(&mut frame, finish);
        let packet = self.memory.packet(&frame);
        if self.kernel.as_mut().is_some_and(|kernel| kernel.hand_over(packet)) {
            self.counters.to_kernel.add(reason, 1);
            self.nic.ended(packet, End::ToKernel(reason));
            self.ended += 1;
            if queue.is_some() {
                self.in_kernel.note(extension);
            }
            self.free(frame);
        } else {
            self.drop(frame, Reason::KernelFull);
        }
    }

    /// A packet, as it was received, that its extension has not dealt with and will not: the kernel's where there is
    /// a way to it with room, else dropped. `extension` is whose share of that room it takes.
    #[cold]
    pub(crate) fn give_back(&mut self, extension: u16, frame: Frame, reason: Reason) {
        if self.kernel.is_none() {
            return self.drop(frame, reason);
        }
        self.hand_over(extension, frame, reason, Finish::default());
    }

    fn queue_for_wire(&mut self, frame: Frame) {
        if self.wire.len() < BACKLOG {
            self.counters.transmitted_own += 1;
            self.wire.push_back(frame);
        } else {
            self.drop(frame, Reason::TransmitFull);
        }
    }

    /// Whether anything waits for a send event.
    pub(crate) fn waiting(&self, now: Nanos) -> bool {
        !self.wire.is_empty()
            || self.remotes.deadline(now).is_some_and(|due| due <= now)
            || self.to_peer.iter().any(|queue| !queue.is_empty())
            || self.homeward.iter().any(|queue| !queue.is_empty())
    }

    /// Packets that wait for a send event.
    pub(crate) fn queued(&self) -> usize {
        self.wire.len() + self.to_peer.iter().map(VecDeque::len).sum::<usize>()
    }

    /// Bytes of the packet that the next send event moves; zero when there is none.
    pub(crate) fn next_bytes(&self) -> usize {
        let next = self.to_peer.iter().find_map(VecDeque::front).or_else(|| self.wire.front());
        next.map_or(0, |frame| usize::from(frame.len()))
    }

    /// The send event: moves every queue on by `most` packets together, and rings for peers that sleep.
    /// Says whether anything moved.
    pub(crate) fn send(&mut self, mut most: usize, now: Nanos) -> bool {
        let mut moved = self.send_to_remotes(now);
        for index in 0..self.peers.len() {
            let Some(peer) = &mut self.peers[index] else { continue };
            let (packets, home) = (&mut self.to_peer[index], &mut self.homeward[index]);
            if packets.is_empty() && home.is_empty() {
                continue;
            }
            if !peer.packets.is_abandoned() {
                let sent = push(&mut peer.packets, packets, most);
                most -= sent;
                moved |= sent + push(&mut peer.home, home, usize::MAX) > 0;
                peer.doorbell.ring();
            }
            // What the ring had no room for is dropped now, so that it cannot grow old here.
            while most > 0
                && let Some(frame) = self.to_peer[index].pop_front()
            {
                most -= 1;
                self.drop(frame, Reason::PeerFull);
                moved = true;
            }
        }
        moved | self.transmit()
    }

    /// Packets with messages for other machines, and what keeps their sessions going.
    fn send_to_remotes(&mut self, now: Nanos) -> bool {
        if self.remotes.is_empty() {
            return false;
        }
        let Self { remotes, pool, memory, wire, .. } = self;
        remotes.poll(now, |packet| {
            let room = wire.len() < BACKLOG && packet.len() <= memory.packet_bytes();
            let Some(mut frame) = pool.frames_mut().pop_if(|_| room) else {
                // As good as lost on the way: it is sent again.
                return false;
            };
            let length = u16::try_from(packet.len()).unwrap_or(0);
            memory.set_packet(&mut frame, spine_nic::buffer::HEADROOM, length);
            memory.packet_mut(&mut frame).copy_from_slice(packet);
            wire.push_back(frame);
            true
        })
    }

    /// Takes a packet that another machine's endpoint sent; any other comes back, but for those of a stranger
    /// that look like one: they are nobody's.
    #[inline]
    pub(crate) fn take_remote(&mut self, frame: Frame, now: Nanos) -> Option<Frame> {
        if self.remotes.is_empty() {
            return Some(frame);
        }
        let packet = self.memory.packet(&frame);
        if self.remotes.receive(packet, now) {
            self.consume(frame);
        } else if self.remotes.is_stray(packet) {
            self.drop(frame, Reason::NoPeer);
        } else {
            return Some(frame);
        }
        None
    }

    fn transmit(&mut self) -> bool {
        if self.wire.is_empty() {
            return false;
        }
        let mut moved = self.nic.transmit(&mut self.wire) > 0;
        if self.nic.is_stalled() {
            // An interface that is down takes nothing for who knows how long; frames are for others.
            while let Some(frame) = self.wire.pop_front() {
                self.drop(frame, Reason::TransmitFull);
                moved = true;
            }
        }
        moved
    }

    /// The arrivals event: what peers forwarded (`most` packets of each) goes to the wire, what they
    /// return goes home, and their messages to `deliver`, with the adapter that sent
    /// them. Says whether anything moved.
    pub(crate) fn arrivals(
        &mut self,
        most: usize,
        mut deliver: impl FnMut(u16, PeerMessage),
    ) -> bool {
        let mut moved = self.homecoming();
        for index in 0..self.peers.len() {
            let room = BACKLOG.saturating_sub(self.wire.len());
            let Some(peer) = &mut self.peers[index] else { continue };
            let count = peer.from.slots().min(room).min(most);
            if let Ok(chunk) = peer.from.read_chunk(count) {
                self.counters.forwarded += count as u64;
                moved |= count > 0;
                self.wire.extend(chunk);
            }
            // No more than were there: a peer that keeps sending does not keep us here.
            for _ in 0..peer.received.slots() {
                let Ok(message) = peer.received.pop() else { break };
                let from = u16::try_from(index).unwrap_or(u16::MAX);
                self.counters.from_peer += 1;
                moved = true;
                deliver(from, message);
            }
        }
        moved | self.transmit()
    }

    /// Frames that peers return go home. Says whether there were any.
    pub(crate) fn homecoming(&mut self) -> bool {
        let mut moved = false;
        for peer in self.peers.iter_mut().flatten() {
            let count = peer.returned.slots();
            moved |= count > 0;
            if let Ok(chunk) = peer.returned.read_chunk(count) {
                for frame in chunk {
                    // A frame returned to the wrong home is sent on rather than lost.
                    if let Some(stranger) = self.pool.put(frame) {
                        self.homeward[usize::from(stranger.home())].push_back(stranger);
                    }
                }
            }
        }
        moved
    }

    /// The complete event: takes back what was sent, and lends empty frames to the wire, for `most`
    /// packets that ended here.
    pub(crate) fn reclaim(&mut self, most: usize) {
        self.ended = self.ended.saturating_sub(most);
        let mut done = std::mem::take(&mut self.scratch);
        self.nic.complete(&mut done, 4 * BURST);
        for frame in done.drain(..) {
            self.free(frame);
        }
        self.scratch = done;
        self.nic.refill(self.pool.frames_mut());
    }

    /// In a model's time, where events stand for the card's work alone: frames go where they are at home,
    /// empty ones to the wire.
    pub(crate) fn keep_house(&mut self) {
        self.homecoming();
        self.reclaim(0);
        for (peer, home) in self.peers.iter_mut().zip(&mut self.homeward) {
            if let Some(peer) = peer
                && !home.is_empty()
                && push(&mut peer.home, home, usize::MAX) > 0
            {
                peer.doorbell.ring();
            }
        }
    }

    /// Takes what an extension sent and released in its last entry.
    pub(crate) fn collect(&mut self, extension: u16, instance: &mut Instance) {
        let (to_host, to_peer) = instance.take_sent();
        for message in to_host {
            self.message_to_host(extension, instance, &message);
        }
        for (peer, message) in to_peer {
            let remote = usize::from(peer).checked_sub(self.peers.len());
            let may = match remote {
                Some(remote) => instance.may_reach(remote),
                None => instance.may_cross(peer),
            };
            if may {
                let owner = instance.owner().cloned();
                self.message_to_peer(peer, PeerMessage { sender: extension, owner, message });
            } else {
                self.counters.messages_dropped.add(Reason::NoPeer, 1);
            }
        }
        self.counters.messages_dropped.add(Reason::OverShare, instance.take_refused());
        let mut released = std::mem::take(&mut self.scratch);
        instance.take_released(&mut released);
        for frame in released.drain(..) {
            self.consume(frame);
        }
        self.scratch = released;
    }

    /// Gives a message to each application of its extension; those that are gone are forgotten.
    fn message_to_host(&mut self, extension: u16, instance: &mut Instance, message: &Message) {
        let (hosts, counters) = (&mut self.hosts, &mut self.counters);
        let (mut sent, mut dropped) = (0, 0);
        instance.applications_mut().retain(|application| {
            let result = hosts.send(*application, extension, message);
            match result {
                Ok(()) => sent += 1,
                Err(Reason::HostClosed) => return *application == FifoId::OWN,
                Err(reason) => {
                    counters.messages_dropped.add(reason, 1);
                    dropped += 1;
                }
            }
            true
        });
        if sent + dropped == 0 {
            counters.messages_dropped.add(Reason::HostClosed, 1);
            dropped = 1;
        }
        counters.to_host += sent;
        instance.mail().to_host += sent;
        instance.mail().lost += dropped;
    }

    fn message_to_peer(&mut self, peer: u16, message: PeerMessage) {
        let extension = message.sender;
        let place = usize::from(peer);
        if let Some(remote) = place.checked_sub(self.peers.len()) {
            return self.message_to_remote(extension, remote, message.message);
        }
        let Some(Some(peer)) = self.peers.get_mut(place) else {
            self.counters.messages_dropped.add(Reason::NoPeer, 1);
            return;
        };
        let waiting = PEER_MESSAGES - peer.messages.slots();
        let reason = if waiting == PEER_MESSAGES {
            Reason::PeerFull
        } else if !self.in_peer[place].admits(extension, waiting, PEER_MESSAGES) {
            Reason::OverShare
        } else if peer.messages.push(message).is_ok() {
            self.in_peer[place].note(extension);
            self.counters.to_peer += 1;
            peer.doorbell.ring();
            return;
        } else {
            Reason::PeerFull
        };
        self.counters.messages_dropped.add(reason, 1);
    }

    fn message_to_remote(&mut self, extension: u16, remote: usize, message: Message) {
        let Some((waiting, capacity)) = self.remotes.queue(remote) else {
            self.counters.messages_dropped.add(Reason::NoPeer, 1);
            return;
        };
        let ledger = &mut self.in_peer[self.peers.len() + remote];
        let reason = if waiting >= capacity {
            Reason::PeerFull
        } else if !ledger.admits(extension, waiting, capacity) {
            Reason::OverShare
        } else if self.remotes.send(remote, message) {
            ledger.note(extension);
            self.counters.to_peer += 1;
            return;
        } else {
            Reason::PeerFull
        };
        self.counters.messages_dropped.add(reason, 1);
    }

    /// Packets and messages that peers have for us.
    pub(crate) fn arrived(&self) -> usize {
        let peers = self.peers.iter().flatten();
        peers.map(|peer| peer.from.slots() + peer.received.slots()).sum()
    }

    /// Whether a peer has something for us.
    pub(crate) fn has_arrivals(&self) -> bool {
        self.peers.iter().flatten().any(Peer::has_something) || self.remotes.has_arrived()
    }
}

/// The outlets, for the outcomes of one extension.
pub(crate) struct Settling<'a> {
    out: &'a mut Outlets,
    extension: u16,
}

impl Settle for Settling<'_> {
    #[inline]
    fn forward(&mut self, pending: Pending, peer: u16) {
        self.out.counters.handled += 1;
        if let Body::Bulk(frame, _) = pending.body {
            self.out.forward(frame, peer);
        }
    }

    fn settle(&mut self, kept: &mut Kept, pending: Pending, outcome: Outcome) {
        let out = &mut *self.out;
        out.counters.handled += 1;
        let Body::Bulk(mut frame, reference) = pending.body else {
            if let Some(reason) = outcome.drop_reason() {
                out.counters.messages_dropped.add(reason, 1);
            }
            return;
        };
        match outcome {
            Outcome::Returned(Verdict::Forward { peer, finish }) => {
                out.finish(&mut frame, finish);
                out.forward(frame, peer);
            }
            Outcome::Returned(Verdict::Transmit { finish }) => {
                out.finish(&mut frame, finish);
                out.queue_for_wire(frame);
            }
            Outcome::Returned(Verdict::Kernel { reason, finish }) => {
                out.hand_over(self.extension, frame, reason, finish);
            }
            Outcome::Returned(Verdict::Keep) => {
                if let Err(frame) = kept.keep(reference, frame, pending.touched) {
                    out.drop(frame, Reason::OverShare);
                }
            }
            Outcome::Returned(
                Verdict::Done | Verdict::Next(_) | Verdict::Dma(_) | Verdict::Publish { .. },
            )
            | Outcome::Passed => out.consume(frame),
            Outcome::Returned(Verdict::Drop(reason)) => out.drop(frame, reason),
            Outcome::Stopped => out.drop(frame, Reason::Stopped),
            Outcome::Refused => out.drop(frame, Reason::BadVerdict),
        }
    }
}

/// Moves as much of a queue into a ring as there is room for, and at most `most`; says how much.
#[inline]
fn push(ring: &mut Producer<Frame>, queue: &mut VecDeque<Frame>, most: usize) -> usize {
    let count = ring.slots().min(queue.len()).min(most);
    match ring.write_chunk_uninit(count) {
        Ok(chunk) if count > 0 => chunk.fill_from_iter(queue.drain(..count)),
        _ => 0,
    }
}
