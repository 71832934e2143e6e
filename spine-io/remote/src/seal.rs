//! Sealed and authenticated, with a key per pair, or refused.
//!
//! The pair's 32-byte key opens a Noise handshake (`NNpsk0`, Curve25519, ChaCha20-Poly1305, BLAKE2s; the
//! crate `snow`), whose two messages each carry the sender's *instance*: a random number it took when it
//! started. The first one also carries the *challenge* that the other side gave for it: whoever opens it sees,
//! before any agreement on the curve, that it was made for this moment. From the handshake come fresh keys for each
//! session, so no counter is ever used twice with one key, also after a restart. Each sealed frame carries its counter in the clear; one that was seen before,
//! or is too old to tell, is refused.

use snow::params::HashChoice;
use snow::resolvers::{CryptoResolver as _, DefaultResolver};
use snow::{Builder, HandshakeState, StatelessTransportState};
use spine_abi::bytes::u64_at;

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"SPINE messages between hosts, 2";
/// Bytes that sealing adds.
pub(super) const TAG: usize = 16;
/// Bytes of the second handshake message: an ephemeral key, the sender's instance, a tag.
pub(super) const SECOND_BYTES: usize = 32 + 8 + TAG;
/// Bytes of the first: the challenge, too.
pub(super) const FIRST_BYTES: usize = SECOND_BYTES + 8;

/// The key that two endpoints share.
#[derive(Clone)]
pub struct PairKey(pub [u8; 32]);

impl std::fmt::Debug for PairKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PairKey(..)")
    }
}

/// A number no other start of an endpoint has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instance(pub(super) u64);

/// A number that the other side of a handshake is to send back: nobody can know it who does not receive what is sent to
/// that side, and it is used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Challenge(pub(super) u64);

impl Challenge {
    /// The one of this number that an instance gives out.
    pub(super) fn new(key: &PairKey, instance: Instance, number: u64) -> Self {
        let drawn = mac(key, b"challenge", &[instance.0, number]);
        Self(u64_at(&drawn, 0).unwrap_or(0))
    }

    /// What says that who has the key gives it to whoever asked with this nonce.
    pub(super) fn tag(self, key: &PairKey, nonce: Nonce) -> [u8; TAG] {
        mac(key, b"given", &[self.0, nonce.0])
    }
}

/// What one who asks for a challenge knows the answer by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Nonce(pub(super) u64);

impl Nonce {
    /// The one of this number that an instance asks with.
    pub(super) fn new(key: &PairKey, instance: Instance, number: u64) -> Self {
        let drawn = mac(key, b"nonce", &[instance.0, number]);
        Self(u64_at(&drawn, 0).unwrap_or(0))
    }

    /// What says that who asks has the key.
    pub(super) fn tag(self, key: &PairKey) -> [u8; TAG] {
        mac(key, b"asking", &[self.0])
    }
}

/// A keyed hash of words, with what they are for.
fn mac(key: &PairKey, what: &[u8], words: &[u64]) -> [u8; TAG] {
    let mut data = [what, PROLOGUE].concat();
    words.iter().for_each(|word| data.extend_from_slice(&word.to_le_bytes()));
    let mut whole = [0; 64];
    let Some(mut hash) = DefaultResolver.resolve_hash(&HashChoice::Blake2s) else {
        unreachable!("the handshake has the same hash")
    };
    hash.hmac(&key.0, &data, &mut whole);
    let mut tag = [0; TAG];
    tag.copy_from_slice(&whole[..TAG]);
    tag
}

/// The first half of a handshake, made by the initiator.
pub(super) struct Opening {
    state: HandshakeState,
    pub(super) challenge: Challenge,
    pub(super) first: [u8; FIRST_BYTES],
}

impl Opening {
    /// The initiator's first message, for this challenge.
    pub(super) fn new(
        key: &PairKey,
        instance: Instance,
        challenge: Challenge,
    ) -> Result<Self, snow::Error> {
        let mut state = builder(key)?.build_initiator()?;
        let mut first = [0; FIRST_BYTES];
        let payload = [instance.0.to_le_bytes(), challenge.0.to_le_bytes()].concat();
        state.write_message(&payload, &mut first)?;
        Ok(Self { state, challenge, first })
    }

    /// The responder's answer; if it is not one to this opening, that stands as before.
    pub(super) fn finish(mut self, second: &[u8]) -> Result<(Session, Instance), Box<Self>> {
        let mut payload = [0; FIRST_BYTES];
        match self.state.read_message(second, &mut payload) {
            Ok(8) => match self.state.into_stateless_transport_mode() {
                Ok(transport) => Ok((Session::new(transport), instance(&payload))),
                Err(error) => unreachable!("both messages were read and written: {error}"),
            },
            _ => Err(Box::new(self)),
        }
    }
}

/// An initiator's first message that was opened: nothing was computed on the curve yet.
pub(super) struct Opened {
    state: HandshakeState,
    pub(super) theirs: Instance,
    /// The challenge it was made for.
    pub(super) challenge: Challenge,
}

impl Opened {
    /// Opens a first message that was made with this key.
    pub(super) fn new(key: &PairKey, first: &[u8]) -> Result<Self, snow::Error> {
        let mut state = builder(key)?.build_responder()?;
        let mut payload = [0; FIRST_BYTES];
        if state.read_message(first, &mut payload)? != 16 {
            return Err(snow::Error::Input);
        }
        let challenge = Challenge(u64_at(&payload, 8).unwrap_or(0));
        Ok(Self { state, theirs: instance(&payload), challenge })
    }

    /// Answers it: the session, and the second message. This is what an agreement costs.
    pub(super) fn answer(
        mut self,
        ours: Instance,
    ) -> Result<(Session, [u8; SECOND_BYTES]), snow::Error> {
        let mut second = [0; SECOND_BYTES];
        self.state.write_message(&ours.0.to_le_bytes(), &mut second)?;
        Ok((Session::new(self.state.into_stateless_transport_mode()?), second))
    }
}

fn builder(key: &PairKey) -> Result<Builder<'_>, snow::Error> {
    let parameters = PATTERN.parse()?;
    Builder::new(parameters).psk(0, &key.0)?.prologue(PROLOGUE)
}

fn instance(payload: &[u8; FIRST_BYTES]) -> Instance {
    Instance(u64_at(payload, 0).unwrap_or(0))
}

/// Keys of one session, and the counters used with them.
pub(super) struct Session {
    transport: StatelessTransportState,
    sent: u64,
    received: Replay,
}

impl Session {
    fn new(transport: StatelessTransportState) -> Self {
        Self { transport, sent: 0, received: Replay::default() }
    }

    /// Seals `plain` into `sealed` and answers its counter and length.
    pub(super) fn seal(&mut self, plain: &[u8], sealed: &mut [u8]) -> Option<(u64, usize)> {
        let counter = self.sent;
        let length = self.transport.write_message(counter, plain, sealed).ok()?;
        self.sent += 1;
        Some((counter, length))
    }

    /// Opens a sealed frame; `None` if it was not sealed with this session's key for us, or was opened
    /// before.
    pub(super) fn open(&mut self, counter: u64, sealed: &[u8], plain: &mut [u8]) -> Option<usize> {
        if !self.received.is_new(counter) {
            return None;
        }
        let length = self.transport.read_message(counter, sealed, plain).ok()?;
        // Only what was authentic moves the window.
        self.received.note(counter);
        Some(length)
    }
}

/// Counters seen, of the last [`Replay::WINDOW`].
#[derive(Default)]
struct Replay {
    /// One more than the highest seen.
    next: u64,
    seen: [u64; 4],
}

impl Replay {
    const WINDOW: u64 = 256;

    fn is_new(&self, counter: u64) -> bool {
        if counter >= self.next {
            // The last one is never used (Noise 5.1 keeps it).
            return counter < u64::MAX - 1;
        }
        self.next - counter <= Self::WINDOW && !self.bit(counter)
    }

    fn note(&mut self, counter: u64) {
        if counter >= self.next {
            if counter - self.next >= Self::WINDOW {
                self.seen = [0; 4];
            } else {
                (self.next..=counter).for_each(|passed| self.set(passed, false));
            }
            self.next = counter + 1;
        }
        self.set(counter, true);
    }

    fn place(counter: u64) -> (usize, u64) {
        let bit = counter % Self::WINDOW;
        (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
    }

    fn bit(&self, counter: u64) -> bool {
        let (word, bit) = Self::place(counter);
        self.seen[word] & bit != 0
    }

    fn set(&mut self, counter: u64, seen: bool) {
        let (word, bit) = Self::place(counter);
        self.seen[word] = if seen { self.seen[word] | bit } else { self.seen[word] & !bit };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_taken_once_and_old_ones_not_at_all() {
        let mut replay = Replay::default();
        for counter in [0, 5, 3, 700, 699, 445] {
            assert!(replay.is_new(counter), "{counter}");
            replay.note(counter);
            assert!(!replay.is_new(counter), "{counter} again");
        }
        assert!(!replay.is_new(444), "older than the window");
        assert!(replay.is_new(446));
        assert!(!replay.is_new(u64::MAX));
    }
}
