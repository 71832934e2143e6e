//! Sealed and authenticated, with a key per pair, or refused.
//!
//! The pair's 32-byte key opens a Noise handshake (`NNpsk0`, Curve25519, ChaCha20-Poly1305, BLAKE2s; the
//! crate `snow`), whose two messages each carry the sender's *instance*: a random number it took when it
//! started. From it come fresh keys for each session, so no counter is ever used twice with one key,
//! also after a restart. Each sealed frame carries its counter in the clear; one that was seen before,
//! or is too old to tell, is refused.

use snow::{Builder, HandshakeState, StatelessTransportState};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"SPINE messages between hosts, 1";
/// Bytes that sealing adds.
pub(super) const TAG: usize = 16;
/// Bytes of either handshake message: an ephemeral key, the sender's instance, a tag.
pub(super) const HANDSHAKE_BYTES: usize = 32 + 8 + TAG;

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

/// The first half of a handshake, made by the initiator.
pub(super) struct Opening {
    state: HandshakeState,
    pub(super) first: [u8; HANDSHAKE_BYTES],
}

impl Opening {
    /// The initiator's first message.
    pub(super) fn new(key: &PairKey, instance: Instance) -> Result<Self, snow::Error> {
        let mut state = builder(key)?.build_initiator()?;
        let mut first = [0; HANDSHAKE_BYTES];
        state.write_message(&instance.0.to_le_bytes(), &mut first)?;
        Ok(Self { state, first })
    }

    /// The responder's answer; if it is not one to this opening, that stands as before.
    pub(super) fn finish(mut self, second: &[u8]) -> Result<(Session, Instance), Box<Self>> {
        let mut payload = [0; HANDSHAKE_BYTES];
        match self.state.read_message(second, &mut payload) {
            Ok(8) => match self.state.into_stateless_transport_mode() {
                Ok(transport) => Ok((Session::new(transport), instance(&payload))),
                Err(error) => unreachable!("both messages were read and written: {error}"),
            },
            _ => Err(Box::new(self)),
        }
    }
}

/// Answers an initiator's first message: the session, who it is, and the second message.
///
/// A copy of an old first message is answered, too: what it starts is used only once a frame sealed
/// with it has come.
pub(super) fn answer(
    key: &PairKey,
    ours: Instance,
    first: &[u8],
) -> Result<(Session, Instance, [u8; HANDSHAKE_BYTES]), snow::Error> {
    let mut state = builder(key)?.build_responder()?;
    let mut payload = [0; HANDSHAKE_BYTES];
    if state.read_message(first, &mut payload)? != 8 {
        return Err(snow::Error::Input);
    }
    let mut second = [0; HANDSHAKE_BYTES];
    state.write_message(&ours.0.to_le_bytes(), &mut second)?;
    Ok((Session::new(state.into_stateless_transport_mode()?), instance(&payload), second))
}

fn builder(key: &PairKey) -> Result<Builder<'_>, snow::Error> {
    let parameters = PATTERN.parse()?;
    Builder::new(parameters).psk(0, &key.0)?.prologue(PROLOGUE)
}

fn instance(payload: &[u8; HANDSHAKE_BYTES]) -> Instance {
    Instance(spine_abi::bytes::u64_at(payload, 0).unwrap_or(0))
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
