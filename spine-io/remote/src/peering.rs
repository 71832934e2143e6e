//! A pair of endpoints as one side sees it: the handshake, the session, the stream in it.
//!
//! It does no input or output and reads no clock: frames come in by [`receive`](Peering::receive) and go
//! out by [`poll`](Peering::poll). A frame that is not authentic changes nothing but a counter; the only
//! thing it can bring about is an answer to a first message, or a new opening, at a bounded rate.
//!
//! | byte | field |
//! |---|---|
//! | 0 | 2 second handshake message, 3 sealed, 4 "I have no session with you", 5 asking for a challenge, 6 a challenge, 7 first handshake message (1: that of version 1) |
//! | 1..4 | zero |
//! | 4..12 | counter (sealed), nonce (5) or challenge (2, 6, 7), little-endian |
//! | then | handshake message, or sealed segment; the tag of 5 and 6; for 4 nothing |
//!
//! **Before an agreement on the curve is paid for** the other side has shown that it can receive, that it has the
//! key, and that it means this moment. It asks, with a nonce; it is given a challenge, no longer than what it sent; its
//! first message carries that challenge, in the clear and sealed; and the challenge is another one from then on. What
//! is played again, however often, meets another challenge or another nonce and costs a comparison. Which nonces were
//! answered a moment ago is remembered, so that copies of one take no time from others; all else is limited
//! ([`super::limits`]).
//!
//! Why no clock, as others use to see what is fresh? A machine whose clock was set back would be refused by all
//! others for as long. And why no keyed hash in place of memory? Peers are configured: each has its place.
//!
//! If the other side has started anew, it is another endpoint: what it did not acknowledge may or may not
//! have arrived, so it is not sent again but counted as lost.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use spine_abi::bytes::u64_at;
use spine_abi::{Message, Nanos};
use spine_headers::{ipv4, udp};

use super::limits::{Limits, Work};
use super::seal::{
    Challenge, FIRST_BYTES, Instance, Nonce, Opened, Opening, PairKey, SECOND_BYTES, Session, TAG,
};
use super::stream::{SEGMENT_BYTES, Stream};

/// The first handshake message of version 1 of this language, which had no challenge, and its bytes.
const FIRST_OF_OLD: u8 = 1;
const BYTES_OF_OLD: usize = SECOND_BYTES;
const SECOND: u8 = 2;
const SEALED: u8 = 3;
const NO_SESSION: u8 = 4;
const ASKING: u8 = 5;
const CHALLENGE: u8 = 6;
const FIRST: u8 = 7;

const SEALED_HEADER: usize = 12;
/// Bytes of a frame between two endpoints, at most.
pub(super) const FRAME_BYTES: usize = SEALED_HEADER + SEGMENT_BYTES + TAG;
const _: () = assert!(
    FRAME_BYTES + ipv4::BYTES + udp::BYTES <= 1500,
    "an ordinary MTU, UDP and IPv4 included"
);

/// Between two openings, and between two frames that ask for one.
const OPEN_AGAIN: u64 = 100_000_000;
/// Between two answers to one nonce, and between two challenges taken.
const CHALLENGE_AGAIN: u64 = 10_000_000;
/// Nonces that are remembered, and challenges that wait to be sent.
const NONCES: usize = 16;

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
    /// Agreements on the curve: what a handshake costs.
    pub agreements: u64,
    /// Frames that were not looked at, because too many like them came.
    pub limited: u64,
    /// Handshakes of another version of this language.
    pub other_version: u64,
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
    /// The nonce that we ask for a challenge with, while we do, and how many there were before.
    asking: Option<Nonce>,
    nonces: u64,
    opening: Option<Opening>,
    /// Whether its first message is to be sent at once.
    send_first: bool,
    open_at: Nanos,
    /// When the next challenge may be taken.
    challenge_at: Nanos,
    /// The challenge that the next first message must carry, and how many there were before.
    challenge: Challenge,
    challenges: u64,
    /// Whom it is to be sent to, and who was answered a moment ago, and until when.
    give_to: Vec<Nonce>,
    answered: VecDeque<(Nonce, Nanos)>,
    limits: Limits,
    /// Frames that answer one of theirs.
    reply: Option<Reply>,
    answer_at: Nanos,
    stream: Stream,
    /// Say something at once, so that the responder sees the session confirmed.
    confirm: bool,
    counted: PeeringStatistics,
}

enum Reply {
    /// With the challenge that the first message carried.
    Second(Challenge, [u8; SECOND_BYTES]),
    NoSession,
}

impl Peering {
    /// A side that knows the pair's key and nothing else yet.
    pub(super) fn new(role: Role, key: PairKey) -> Self {
        // The instance need only differ from earlier ones: the standard library's hasher is seeded from
        // the system's randomness. It is no secret.
        let ours = Instance(RandomState::new().build_hasher().finish());
        let challenge = Challenge::new(&key, ours, 0);
        Self {
            role,
            key,
            asking: None,
            nonces: 0,
            send_first: false,
            challenge_at: Nanos(0),
            challenge,
            challenges: 0,
            give_to: Vec::new(),
            answered: VecDeque::new(),
            limits: Limits::of_peer(),
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

    /// Takes a frame from the wire; `all` is what all peers together may have us do.
    pub(super) fn receive(&mut self, frame: &[u8], now: Nanos, all: &mut Limits) {
        let taken = match frame {
            [ASKING, 0, 0, 0, rest @ ..] => self.asked_for_challenge(rest, now, all),
            [CHALLENGE, 0, 0, 0, rest @ ..] => self.challenged(rest, now, all),
            [FIRST, 0, 0, 0, rest @ ..] => self.first(rest, now, all),
            [FIRST_OF_OLD, 0, 0, 0, first @ ..] if first.len() == BYTES_OF_OLD => {
                self.counted.other_version += 1;
                false
            }
            [SECOND, 0, 0, 0, rest @ ..] => self.second(rest, now, all),
            [SEALED, 0, 0, 0, rest @ ..] => self.sealed(rest, now),
            [NO_SESSION, 0, 0, 0] => self.asked(now),
            _ => false,
        };
        self.counted.refused += u64::from(!taken);
    }

    /// Whether there is time for this; counted if not.
    fn affords(&mut self, work: Work, now: Nanos, all: &mut Limits) -> bool {
        let affords = self.limits.take(all, work, now);
        self.counted.limited += u64::from(!affords);
        affords
    }

    fn asked_for_challenge(&mut self, rest: &[u8], now: Nanos, all: &mut Limits) -> bool {
        let (Some(nonce), Some(tag)) = (u64_at(rest, 0), rest.get(8..)) else { return false };
        let nonce = Nonce(nonce);
        if self.role != Role::Responder || tag.len() != TAG {
            return false;
        }
        let was_answered = self.answered.iter().any(|(of, until)| *of == nonce && now < *until);
        let is_full = self.give_to.len() >= NONCES;
        if was_answered || is_full || !self.affords(Work::Look, now, all) {
            return true;
        }
        if tag != nonce.tag(&self.key) {
            return false;
        }
        self.answered.retain(|(of, _)| *of != nonce);
        if self.answered.len() >= NONCES {
            self.answered.pop_front();
        }
        self.answered.push_back((nonce, Nanos(now.0.saturating_add(CHALLENGE_AGAIN))));
        self.give_to.push(nonce);
        true
    }

    fn challenged(&mut self, rest: &[u8], now: Nanos, all: &mut Limits) -> bool {
        let (Some(challenge), Some(tag)) = (u64_at(rest, 0), rest.get(8..)) else { return false };
        let challenge = Challenge(challenge);
        if self.role != Role::Initiator || tag.len() != TAG {
            return false;
        }
        // What was not asked for, or comes too soon after the one before.
        let Some(nonce) = self.asking.filter(|_| now >= self.challenge_at) else { return true };
        if !self.affords(Work::Look, now, all) {
            return true;
        }
        if tag != challenge.tag(&self.key, nonce) {
            return false;
        }
        let is_same = self.opening.as_ref().is_some_and(|opening| opening.challenge == challenge);
        if !is_same {
            if !self.affords(Work::Agreement, now, all) {
                return true;
            }
            self.opening = Opening::new(&self.key, self.ours, challenge).ok();
            self.counted.agreements += 1;
        }
        self.challenge_at = Nanos(now.0.saturating_add(CHALLENGE_AGAIN));
        self.send_first = true;
        true
    }

    fn first(&mut self, rest: &[u8], now: Nanos, all: &mut Limits) -> bool {
        let (Some(challenge), Some(first)) = (u64_at(rest, 0), rest.get(8..)) else { return false };
        if self.role != Role::Responder || first.len() != FIRST_BYTES {
            return false;
        }
        if Challenge(challenge) != self.challenge {
            // Of old, or one that we have not given. Whoever means it asks again.
            return false;
        }
        if !self.affords(Work::Look, now, all) {
            return true;
        }
        let opened = Opened::new(&self.key, first);
        let Some(opened) = opened.ok().filter(|opened| opened.challenge == self.challenge) else {
            return false;
        };
        if !self.affords(Work::Agreement, now, all) {
            return true;
        }
        self.counted.agreements += 1;
        self.challenges += 1;
        self.challenge = Challenge::new(&self.key, self.ours, self.challenges);
        let (theirs, opened_for) = (opened.theirs, opened.challenge);
        let Ok((session, second)) = opened.answer(self.ours) else { return false };
        self.unconfirmed = Some((session, theirs));
        self.reply = Some(Reply::Second(opened_for, second));
        self.answer_at = now;
        true
    }

    fn second(&mut self, rest: &[u8], now: Nanos, all: &mut Limits) -> bool {
        let (Some(challenge), Some(second)) = (u64_at(rest, 0), rest.get(8..)) else {
            return false;
        };
        let answers = |opening: &Opening| opening.challenge == Challenge(challenge);
        if !self.opening.as_ref().is_some_and(answers) || second.len() != SECOND_BYTES {
            return false;
        }
        if !self.affords(Work::Agreement, now, all) {
            return true;
        }
        let Some(opening) = self.opening.take() else { return false };
        self.counted.agreements += 1;
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
        if self.role == Role::Initiator && now >= self.open_at {
            self.begin_opening();
        }
        self.role == Role::Initiator
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
        (self.asking, self.opening, self.send_first) = (None, None, false);
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
        for nonce in std::mem::take(&mut self.give_to) {
            let (challenge, tag) = (self.challenge.0, self.challenge.tag(&self.key, nonce));
            moved |= emit_parts(CHALLENGE, challenge, &tag, &mut emit);
        }
        if let Some(opening) = &self.opening
            && std::mem::take(&mut self.send_first)
        {
            moved |= emit_parts(FIRST, opening.challenge.0, &opening.first, &mut emit);
        }
        if let Some(nonce) = self.asking
            && now >= self.open_at
        {
            self.open_at = Nanos(now.0.saturating_add(OPEN_AGAIN));
            moved |= emit_parts(ASKING, nonce.0, &nonce.tag(&self.key), &mut emit);
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

    /// Asks for a challenge, by polls at their time, until there is a session. What session there is stays in use
    /// meanwhile.
    fn begin_opening(&mut self) {
        if self.asking.is_none() {
            self.asking = Some(Nonce::new(&self.key, self.ours, self.nonces));
            self.nonces += 1;
        }
    }

    /// When [`poll`](Self::poll) has something to do next, if nothing arrives before.
    pub(super) fn deadline(&self, now: Nanos) -> Option<Nanos> {
        let sends = self.reply.is_some() || self.send_first || !self.give_to.is_empty();
        if sends || self.confirm || self.session.is_some() && self.stream.is_due() {
            return Some(now);
        }
        let opens = self.asking.is_some() || self.session.is_none() && self.wants_session();
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
        Reply::Second(challenge, second) => emit_parts(SECOND, challenge.0, second, emit),
        Reply::NoSession => {
            emit(&[NO_SESSION, 0, 0, 0]);
            true
        }
    }
}

fn emit_parts(kind: u8, number: u64, rest: &[u8], emit: &mut impl FnMut(&[u8]) -> bool) -> bool {
    emit(&[&[kind, 0, 0, 0][..], &number.to_le_bytes(), rest].concat());
    true
}
