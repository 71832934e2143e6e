//! Calling handlers on the host, with plain slices.
//!
//! ```
//! use spine_sdk::{Context, Finish, Message, Verdict, testing::Call};
//!
//! fn swap_first_two(_: Context, message: &mut Message<'_>) -> Verdict {
//!     if let [first, second, ..] = message.packet_mut() {
//!         core::mem::swap(first, second);
//!     }
//!     Verdict::Transmit { finish: Finish::NONE }
//! }
//!
//! let outcome = Call::packet(&[1, 2, 3]).prefix(2).run(swap_first_two);
//! assert_eq!(outcome.verdict, Verdict::Transmit { finish: Finish::NONE });
//! assert_eq!(outcome.prefix, [2, 1]);
//! ```
//!
//! The thread stands for one loaded extension: statics, regions and kept buffers are its own. The test
//! harness gives each test a thread, unless told to use only one; so a test that depends on statics
//! begins with [`fresh`].

use spine_abi::dma::Element;
use spine_abi::limits::{ARGUMENT_BYTES, HEADER_BYTES, MESSAGE_BYTES};
use spine_abi::{BufferRef, Endpoint, HandlerNumber, Header, Kind, PackedVerdict, Verdict};

use std::rc::Rc;

use crate::Init;
use crate::message::{Context, Message};
use crate::region::Region;
use crate::sys::{Span, double};

/// Zeroed memory of `length` bytes, as a region. It is never given back.
pub fn region(length: usize) -> Region {
    Region(Span::leak(length))
}

/// Shares a region with the extension on this thread: what `Init::region` finds, by order of calls.
pub fn share(region: Region) {
    double::with(|double| double.regions.push(region.0));
}

/// Makes this thread's extension a newly loaded one: statics as written, no regions, no buffers.
pub fn fresh() {
    double::with(|double| *double = double::Double::default());
}

/// Runs an extension's initialisation, as the runtime does: `testing::initialise(extension::initialise)`.
pub fn initialise(initialise: impl FnOnce(&mut Init)) {
    initialise(&mut Init::new());
}

/// Says what another extension answers on this thread when one of its interfaces is called that
/// [`import!`](crate::import) declares. Numbers are given and taken as their bits.
pub fn answer(domain: &str, interface: &str, with: impl Fn(&[u64]) -> u64 + 'static) {
    let key = (domain.to_owned(), interface.to_owned());
    double::with(|double| double.answers.insert(key, Rc::new(with)));
}

/// Calls what [`answer`] was given. For generated code.
///
/// # Panics
/// If nothing was.
#[doc(hidden)]
pub fn call(domain: &str, interface: &str, arguments: &[u64]) -> u64 {
    let key = (domain.to_owned(), interface.to_owned());
    match double::with(|double| double.answers.get(&key).cloned()) {
        Some(answer) => answer(arguments),
        None => panic!("no test said what {domain}.{interface} answers: testing::answer"),
    }
}

/// The context that `init` set for a handler, if it set one.
pub fn context_of(handler: HandlerNumber) -> Option<u32> {
    double::with(|double| double.contexts.get(&handler.0).copied())
}

/// The bytes of this thread's scratch memory from an address on: what an element with
/// [`Source::Scratch`](crate::Source::Scratch) would copy.
///
/// # Panics
/// If no scratch has these bytes.
pub fn scratch(address: u32, length: usize) -> Vec<u8> {
    double::scratch(address, length)
}

/// One invocation of a handler, being prepared.
#[derive(Debug, Clone)]
pub struct Call {
    header: Header,
    bytes: Vec<u8>,
    prefix: u16,
    context: u32,
}

/// What an invocation did.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What the handler asked for.
    pub verdict: Verdict,
    /// The bytes of the packet that the handler saw, as it left them.
    pub prefix: Vec<u8>,
    /// The elements of its list, if the verdict is one.
    pub dma: Vec<Element>,
    /// The messages it sent to the application.
    pub to_host: Vec<spine_abi::Message>,
    /// The messages it sent to other adapters.
    pub to_peers: Vec<(u16, spine_abi::Message)>,
    /// The timers it armed and did not cancel: microseconds, handler, token.
    pub timers: Vec<(u32, HandlerNumber, u64)>,
}

impl Call {
    /// A packet from the wire, of which the handler sees everything unless [`prefix`](Self::prefix)
    /// says less.
    ///
    /// # Panics
    /// If it has 65536 bytes or more.
    pub fn packet(bytes: &[u8]) -> Self {
        let length = u16::try_from(bytes.len()).expect("a packet has less than 65536 bytes");
        let buffer = BufferRef { index: 0, generation: 1 };
        Self::new(Kind::Bulk, Endpoint::Network, bytes, length, buffer)
    }

    /// A small message from the application.
    ///
    /// # Panics
    /// If there are more than 240 bytes of arguments.
    pub fn small(arguments: &[u8]) -> Self {
        assert!(arguments.len() <= ARGUMENT_BYTES, "a message has 240 bytes of arguments");
        let length = u16::try_from(arguments.len()).unwrap_or(0);
        Self::new(Kind::Small, Endpoint::Host, arguments, length, BufferRef::NONE)
    }

    fn new(kind: Kind, source: Endpoint, bytes: &[u8], length: u16, buffer: BufferRef) -> Self {
        let header = Header { handler: HandlerNumber(1), kind, source, length, buffer };
        Self { header, bytes: bytes.to_vec(), prefix: length, context: 0 }
    }

    /// The number in the message's header (1 unless set).
    #[must_use]
    pub fn handler(mut self, number: u16) -> Self {
        self.header.handler = HandlerNumber(number);
        self
    }

    /// Where the message comes from.
    #[must_use]
    pub fn source(mut self, source: Endpoint) -> Self {
        self.header.source = source;
        self
    }

    /// The handler's context (0 unless set).
    #[must_use]
    pub fn context(mut self, context: u32) -> Self {
        self.context = context;
        self
    }

    /// How much of the packet the handler asked to see. Of no effect on [`dispatch`](Self::dispatch),
    /// where the manifest says it.
    #[must_use]
    pub fn prefix(mut self, bytes: u16) -> Self {
        self.prefix = bytes;
        self
    }

    /// Invokes a handler.
    pub fn run(self, handler: impl FnOnce(Context, &mut Message<'_>) -> Verdict) -> Outcome {
        let mut slot = vec![0; MESSAGE_BYTES.max(HEADER_BYTES + usize::from(self.prefix))];
        let (context, prefix) = (Context(self.context), self.prefix);
        self.in_slot(&mut slot, |slot| handler(context, &mut Message::in_slot(slot, prefix)))
    }

    /// Invokes whichever handler of the extension has the number:
    /// `Call::packet(&bytes).handler(2).dispatch(extension::dispatch)`.
    pub fn dispatch<const STRIDE: usize>(
        self,
        dispatch: impl FnOnce(Context, &mut [u8; STRIDE]) -> PackedVerdict,
    ) -> Outcome {
        let mut slot = [0; STRIDE];
        let context = Context(self.context);
        self.in_slot(&mut slot, |slot| {
            let slot = slot.try_into().expect("the slot was made with this length");
            dispatch(context, slot).verdict()
        })
    }

    fn in_slot(self, slot: &mut [u8], work: impl FnOnce(&mut [u8]) -> Verdict) -> Outcome {
        slot[..HEADER_BYTES].copy_from_slice(&self.header.to_bytes());
        let seen = self.bytes.len().min(slot.len() - HEADER_BYTES);
        slot[HEADER_BYTES..HEADER_BYTES + seen].copy_from_slice(&self.bytes[..seen]);
        double::with(|double| {
            double.to_host.clear();
            double.to_peers.clear();
            if self.header.kind == Kind::Bulk {
                double.buffers.insert(self.header.buffer, self.bytes.clone());
            }
        });
        let verdict = work(slot);
        double::with(|double| {
            if verdict != Verdict::Keep {
                double.buffers.remove(&self.header.buffer);
            }
            let seen = match self.header.kind {
                Kind::Bulk => seen.min(usize::from(self.prefix)),
                Kind::Small => 0,
            };
            Outcome {
                verdict,
                prefix: slot[HEADER_BYTES..HEADER_BYTES + seen].to_vec(),
                dma: elements(verdict, &slot[HEADER_BYTES..]),
                to_host: std::mem::take(&mut double.to_host),
                to_peers: std::mem::take(&mut double.to_peers),
                timers: std::mem::take(&mut double.timers)
                    .into_iter()
                    .map(|(_, microseconds, handler, token)| {
                        (microseconds, HandlerNumber(handler), token)
                    })
                    .collect(),
            }
        })
    }
}

/// The elements that a verdict says are in the slot's arguments.
fn elements(verdict: Verdict, arguments: &[u8]) -> Vec<Element> {
    let Verdict::Dma(transfer) = verdict else { return Vec::new() };
    let places = arguments.chunks(transfer.form.bytes()).take(usize::from(transfer.elements));
    places.map(|bytes| Element::parse(transfer.form, bytes).expect("a list of the SDK's")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Buffer, ErrorCode, Reason, send_to_host, send_to_peer};

    #[test]
    fn the_rest_of_a_packet_is_reached_through_its_buffer() {
        let packet: Vec<u8> = (0..200).collect();
        Call::packet(&packet).prefix(64).run(|_, message| {
            let buffer = message.buffer().unwrap();
            let mut rest = [0; 150];
            assert_eq!(buffer.read(64, &mut rest), Ok(136));
            assert_eq!(rest[..136], packet[64..]);
            assert_eq!(buffer.write(198, &[1, 2, 3]), Ok(2));
            assert_eq!(buffer.read(201, &mut rest), Err(ErrorCode::OutOfRange));
            Verdict::Done
        });
    }

    #[test]
    fn kept_buffers_stay_until_released_and_others_are_gone() {
        fresh();
        let mut held = None;
        Call::packet(b"mine").run(|_, message| {
            held = message.buffer();
            Verdict::Keep
        });
        let held: Buffer = held.unwrap();
        let mut bytes = [0; 4];
        assert_eq!((held.read(0, &mut bytes), &bytes), (Ok(4), b"mine"));
        assert_eq!(held.release(), Ok(()));
        assert_eq!(held.read(0, &mut bytes), Err(ErrorCode::NoBuffer));
        assert_eq!(held.release(), Err(ErrorCode::NoBuffer));
    }

    #[test]
    fn messages_sent_are_recorded_and_too_long_ones_refused() {
        let outcome = Call::small(b"?").run(|_, _| {
            assert_eq!(send_to_host(HandlerNumber(9), b"pong"), Ok(()));
            assert_eq!(send_to_peer(3, HandlerNumber(1), b"hi"), Ok(()));
            assert_eq!(send_to_host(HandlerNumber(9), &[0; 241]), Err(ErrorCode::BadMessage));
            Verdict::Drop(Reason::Extension)
        });
        assert_eq!(outcome.to_host.len(), 1);
        assert_eq!(outcome.to_host[0].arguments(), b"pong");
        assert_eq!(outcome.to_peers[0].0, 3);
        assert!(outcome.prefix.is_empty());
    }
}
