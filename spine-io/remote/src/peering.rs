//! A pair of endpoints as one side sees it: the handshake, the session, the stream in it.
//!
//! It does no input or output and reads no clock: frames come in by [`receive`](Peering::receive) and go
//! out by [`poll`](Peering::poll). A frame that is not authentic changes nothing but a counter; the only
//! thing it can bring about is an answer to a first message, or a new opening, at a bounded rate.
//!
//! | byte | field |
//! |---|---|
//! | 0 | 1 first handshake message, 2 second, 3 sealed, 4 "I have no session with you" |
//! | 1..4 | zero |
//! | 4..12 | counter (sealed), little-endian |
//! | then | handshake message, or sealed segment; for 4 nothing |
//!
//! If the other side has started anew, it is another endpoint: what it did not acknowledge may or may not
//! have arrived, so it is not sent again but counted as lost.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use spine_abi::bytes::u64_at;
use spine_abi::{Message, Nanos};
use spine_headers::{ipv4, udp};

use super::seal::{HANDSHAKE_BYTES, Instance, Opening, PairKey, Session, TAG, answer};
use super::stream::{SEGMENT_BYTES, Stream};

const FIRST: u8 = 1;
const SECOND: u8 = 2;
const SEALED: u8 = 3;
const NO_SESSION: u8 = 4;

const PLAIN_HEADER: usize = 4;
const SEALED_HEADER: usize = 12;
/// Bytes of a frame between two endpoints, at most.
pub(super) const FRAME_BYTES: usize = SEALED_HEADER + SEGMENT_BYTES + TAG;
const _: () = assert!(
    FRAME_BYTES + ipv4::BYTES + udp::BYTES <= 1500,
    "an ordinary MTU, UDP and IPv4 included"
);

/// Between two openings, and between two frames that ask for one.
const OPEN_AGAIN: u64 = 100_000_000;

/// Which side opens the handshake: agreed beforehand, so that there is one session, not two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It sends the first message.
    Initiator,
    /// It answers.
    Responder,
}

/// What a pairing has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeeringStatistics {
    /// Messages handed over, in order.
    pub received: u64,
    /// Messages taken for sending.
    pub sent: u64,
    /// Messages taken that the other side has not acknowledged yet.
    pub waiting: u64,
    /// Frames that were not authentic, not new, or made no sense.
    pub refused: u64,
    /// Messages sent a second time or more.
    pub resent: u64,
    /// Messages that came a second time or more.
    pub duplicates: u64,
    /// Messages to an instance that has gone.
    pub lost: u64,
    /// Sessions begun.
    pub sessions: u64,
}

/// One side of a pair.
pub(super) struct Peering {
    role: Role,
    key: PairKey,
    ours: Instance,
    theirs: Option<Instance>,
    session: Option<Session>,
    /// A session that no sealed frame has confirmed yet.
    unconfirmed: Option<(Session, Instance)>,
    opening: Option<Opening>,
    open_at: Nanos,
    /// Frames that answer one of theirs.
    reply: Option<Reply>,
    answer_at: Nanos,
    stream: Stream,
    /// Say something at once, so that the responder sees the session confirmed.
    confirm: bool,
    counted: PeeringStatistics,
}

enum Reply {
    Second([u8; HANDSHAKE_BYTES]),
    NoSession,
}

impl Peering {
    /// A side that knows the pair's key and nothing else yet.
    pub(super) fn new(role: Role, key: PairKey) -> Self {
        // The instance need only differ from earlier ones: the standard library's hasher is seeded from
        // the system's randomness. It is no secret.
        let ours = Instance(RandomState::new().build_hasher().finish());
        Self {
            role,
            key,
            ours,
            theirs: None,
            session: None,
            unconfirmed: None,
            opening: None,
            open_at: Nanos(0),
            reply: None,
            answer_at: Nanos(0),
            stream: Stream::default(),
            confirm: false,
            counted: PeeringStatistics::default(),
        }
    }

    /// Takes a message to be sent; false when too many are on their way already.
    pub(super) fn send(&mut self, message: Message) -> bool {
        let taken = self.stream.offer(message);
        self.counted.sent += u64::from(taken);
        taken
    }

    /// Messages on their way, or waiting to be.
    pub(super) fn unacknowledged(&self) -> usize {
        self.stream.unacknowledged()
    }

    /// Whether the next message in order is here.
    pub(super) fn has_arrived(&self) -> bool {
        self.stream.has_arrived()
    }

    /// Takes a frame from the wire.
    pub(super) fn receive(&mut self, frame: &[u8], now: Nanos) {
        let taken = match frame {
            [FIRST, 0, 0, 0, first @ ..] => self.first(first, now),
            [SECOND, 0, 0, 0, second @ ..] => self.second(second),
            [SEALED, 0, 0, 0, rest @ ..] => self.sealed(rest, now),
            [NO_SESSION, 0, 0, 0] => self.asked(now),
            _ => false,
        };
        self.counted.refused += u64::from(!taken);
    }

    fn first(&mut self, first: &[u8], now: Nanos) -> bool {
        if self.role != Role::Responder || first.len() != HANDSHAKE_BYTES {
            return false;
        }
        let Ok((session, theirs, second)) = answer(&self.key, self.ours, first) else {
            return false;
        };
        self.unconfirmed = Some((session, theirs));
        self.reply = Some(Reply::Second(second));
        self.answer_at = now;
        true
    }

    fn second(&mut self, second: &[u8]) -> bool {
        let Some(opening) = self.opening.take() else { return false };
        if second.len() != HANDSHAKE_BYTES {
            self.opening = Some(opening);
            return false;
        }
        match opening.finish(second) {
            Ok((session, theirs)) => {
                self.begin(session, theirs);
                self.confirm = true;
                true
            }
            Err(opening) => {
                self.opening = Some(*opening);
                false
            }
        }
    }

    fn sealed(&mut self, rest: &[u8], now: Nanos) -> bool {
        let (Some(counter), Some(sealed)) = (u64_at(rest, 0), rest.get(8..)) else { return false };
        let mut plain = [0; SEGMENT_BYTES + TAG];
        if sealed.len() > plain.len() {
            return false;
        }
        let session = self.session.as_mut();
        let mut opened = session.and_then(|session| session.open(counter, sealed, &mut plain));
        if opened.is_none()
            && let Some((mut session, theirs)) = self.unconfirmed.take()
        {
            opened = session.open(counter, sealed, &mut plain);
            match opened {
                Some(_) => self.begin(session, theirs),
                None => self.unconfirmed = Some((session, theirs)),
            }
        }
        match opened.and_then(|length| plain.get(..length)) {
            Some(segment) => self.stream.accept(segment, now),
            None => {
                self.has_no_session(now);
                false
            }
        }
    }

    /// The other side sends, and we have no session to open it with: it or we have started anew.
    fn has_no_session(&mut self, now: Nanos) {
        match self.role {
            _ if self.session.is_some() => {}
            Role::Initiator => {
                self.begin_opening();
            }
            Role::Responder if self.reply.is_none() && now >= self.answer_at => {
                self.answer_at = Nanos(now.0.saturating_add(OPEN_AGAIN));
                self.reply = Some(Reply::NoSession);
            }
            Role::Responder => {}
        }
    }

    /// The other side has no session. Nobody signs that, so all it does is to have us ask, once in a
    /// while; what session there is stays in use until there is an answer.
    fn asked(&mut self, now: Nanos) -> bool {
        self.role == Role::Initiator && (now < self.open_at || self.begin_opening())
    }

    /// A session whose other side has shown that it has the key.
    fn begin(&mut self, session: Session, theirs: Instance) {
        if self.theirs.is_some_and(|known| known != theirs) {
            self.counted.lost += self.stream.unacknowledged() as u64;
            self.counted.resent += self.stream.resent;
            self.counted.duplicates += self.stream.duplicates;
            self.stream = Stream::default();
        }
        self.theirs = Some(theirs);
        self.session = Some(session);
        self.counted.sessions += 1;
    }

    /// Hands over what has arrived, in order, until `deliver` answers that it can take no more. Says
    /// whether anything was.
    pub(super) fn deliver(&mut self, mut deliver: impl FnMut(&Message) -> bool) -> bool {
        let mut count = 0;
        self.stream.deliver(|message| {
            let taken = deliver(message);
            count += u64::from(taken);
            taken
        });
        self.counted.received += count;
        count > 0
    }

    /// Hands every frame that is due to `emit`, until that answers that it can take no more. Says whether
    /// there was one.
    pub(super) fn poll(&mut self, now: Nanos, mut emit: impl FnMut(&[u8]) -> bool) -> bool {
        let mut moved = false;
        if let Some(reply) = self.reply.take() {
            moved |= emit_reply(&reply, &mut emit);
        }
        if self.session.is_none() && self.wants_session() && now >= self.open_at {
            self.begin_opening();
        }
        if self.wants_to_be_asked() && now >= self.answer_at {
            self.answer_at = Nanos(now.0.saturating_add(OPEN_AGAIN));
            moved |= emit_reply(&Reply::NoSession, &mut emit);
        }
        if let Some(opening) = &self.opening
            && now >= self.open_at
        {
            self.open_at = Nanos(now.0.saturating_add(OPEN_AGAIN));
            moved |= emit_handshake(FIRST, &opening.first, &mut emit);
        }
        while let Some(length) = self.next_frame(now) {
            let (frame, length) = length;
            moved = true;
            if !emit(&frame[..length]) {
                break;
            }
        }
        moved
    }

    fn next_frame(&mut self, now: Nanos) -> Option<([u8; FRAME_BYTES], usize)> {
        let session = self.session.as_mut()?;
        let mut plain = [0; SEGMENT_BYTES];
        if std::mem::take(&mut self.confirm) {
            self.stream.acknowledge_at_once();
        }
        let length = self.stream.next_segment(now, &mut plain)?;
        let mut frame = [0; FRAME_BYTES];
        let (counter, sealed) = session.seal(&plain[..length], &mut frame[SEALED_HEADER..])?;
        frame[0] = SEALED;
        frame[4..SEALED_HEADER].copy_from_slice(&counter.to_le_bytes());
        Some((frame, SEALED_HEADER + sealed))
    }

    fn wants_session(&self) -> bool {
        self.role == Role::Initiator && self.stream.unacknowledged() > 0
    }

    /// The responder never opens; with something to say and no session it lets the initiator know.
    fn wants_to_be_asked(&self) -> bool {
        self.role == Role::Responder && self.session.is_none() && self.stream.unacknowledged() > 0
    }

    /// Makes an opening, to be sent by a poll at its time. What session there is stays in use meanwhile.
    fn begin_opening(&mut self) -> bool {
        if self.opening.is_none() {
            self.opening = Opening::new(&self.key, self.ours).ok();
        }
        self.opening.is_some()
    }

    /// When [`poll`](Self::poll) has something to do next, if nothing arrives before.
    pub(super) fn deadline(&self, now: Nanos) -> Option<Nanos> {
        if self.reply.is_some() || self.confirm || self.session.is_some() && self.stream.is_due() {
            return Some(now);
        }
        let opens = self.opening.is_some() || self.session.is_none() && self.wants_session();
        let resend = self.session.as_ref().and_then(|_| self.stream.deadline());
        let asks = self.wants_to_be_asked().then_some(self.answer_at);
        opens.then_some(self.open_at).into_iter().chain(asks).chain(resend).min()
    }

    /// What was counted.
    pub(super) fn statistics(&self) -> PeeringStatistics {
        PeeringStatistics {
            waiting: self.stream.unacknowledged() as u64,
            resent: self.counted.resent + self.stream.resent,
            duplicates: self.counted.duplicates + self.stream.duplicates,
            ..self.counted
        }
    }
}

fn emit_reply(reply: &Reply, emit: &mut impl FnMut(&[u8]) -> bool) -> bool {
    match reply {
        Reply::Second(second) => emit_handshake(SECOND, second, emit),
        Reply::NoSession => {
            emit(&[NO_SESSION, 0, 0, 0]);
            true
        }
    }
}

fn emit_handshake(
    kind: u8,
    message: &[u8; HANDSHAKE_BYTES],
    emit: &mut impl FnMut(&[u8]) -> bool,
) -> bool {
    let mut frame = [0; PLAIN_HEADER + HANDSHAKE_BYTES];
    frame[0] = kind;
    frame[PLAIN_HEADER..].copy_from_slice(message);
    emit(&frame);
    true
}
