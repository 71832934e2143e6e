//! The extension to copy.
//!
//! It counts the packets it sees, gives every one of them to the kernel, and answers a message of its
//! application with the count. To make your own: copy the folder, change the names, and keep the two
//! files apart (`main.rs` stays as it is but for the library's name).
//!
//! ```sh
//! cargo build --release --target wasm32-unknown-unknown -p spine-hello --bin spine-hello
//! ```
//!
//! Three things to know:
//! - a handler may be stopped at any instruction. Nothing breaks by that if each of your statics is
//!   right on its own;
//! - `prefix` is what you see of a packet, `writeback` what is taken over from it when the packet is
//!   sent on: here nothing is changed, so there is none;
//! - the domains are what you ask the linker for. Fewer are better: what was not granted cannot be
//!   called by mistake.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use spine_sdk::{
    Context, Endpoint, Global, HandlerNumber, Init, Message, Reason, Verdict, handler, init,
    send_to_host,
};

/// The handler for packets.
pub const PACKET: HandlerNumber = HandlerNumber(1);
/// The handler for the application's question.
pub const PING: HandlerNumber = HandlerNumber(2);
/// The application's own number for the answer: packets (u64), bytes (u64), what was asked.
pub const PONG: HandlerNumber = HandlerNumber(1);

/// Bytes of a question that are sent back in the answer, at most.
const ECHO_BYTES: usize = 32;

static PACKETS: Global<u64> = Global::<u64>::new(0);
static BYTES: Global<u64> = Global::<u64>::new(0);

/// Runs once, before any handler; the only place where contexts and regions are to be had.
#[init]
fn init(setup: &mut Init) {
    // The context is yours: here, what one packet counts. Without this line it is 0.
    let known = setup.add_handler(PACKET, 1);
    debug_assert_eq!(known, Ok(()));
}

/// One packet from the wire. It wants to see 14 bytes: the Ethernet header.
#[handler(PACKET.0, prefix = 14)]
fn packet(context: Context, message: &mut Message<'_>) -> Verdict {
    // Never index what came from the wire: ask for the shape you need, and say what happens without it.
    let Some(_ethernet) = message.packet().first_chunk::<14>() else {
        return Verdict::Drop(Reason::Truncated);
    };
    PACKETS.set(PACKETS.get().wrapping_add(u64::from(context.0)));
    BYTES.set(BYTES.get().wrapping_add(message.length() as u64));
    Verdict::kernel(Reason::Unhandled)
}

/// A question from the application, answered with the counts and the question.
#[handler(PING.0)]
fn ping(_context: Context, message: &mut Message<'_>) -> Verdict {
    if message.source() != Endpoint::Host {
        return Verdict::Drop(Reason::Unhandled);
    }
    let mut answer = [0; 16 + ECHO_BYTES];
    answer[..8].copy_from_slice(&PACKETS.get().to_le_bytes());
    answer[8..16].copy_from_slice(&BYTES.get().to_le_bytes());
    let mut length = 16;
    for (to, from) in answer[16..].iter_mut().zip(message.arguments()) {
        *to = *from;
        length += 1;
    }
    // The FIFO may be full: then the application asks again. A handler never waits.
    match answer.get(..length).map(|answer| send_to_host(PONG, answer)) {
        Some(Ok(())) => Verdict::Done,
        _ => Verdict::Drop(Reason::Unanswered),
    }
}

spine_sdk::extension! {
    name: "hello",
    domains: [Host, Kernel],
    handlers: [packet, ping],
    init: init,
}

#[cfg(test)]
mod tests {
    use super::*;
    use spine_sdk::manifest::Manifest;
    use spine_sdk::testing::{Call, context_of, fresh};

    #[test]
    fn packets_are_counted_and_left_to_the_kernel() {
        fresh();
        spine_sdk::testing::initialise(extension::initialise);
        let one = context_of(PACKET).unwrap();
        for length in [60, 1514] {
            let call = Call::packet(&vec![0; length]).handler(PACKET.0).context(one);
            let outcome = call.dispatch(extension::dispatch);
            assert_eq!(outcome.verdict, Verdict::kernel(Reason::Unhandled));
        }
        let outcome = Call::small(b"how many?").handler(PING.0).dispatch(extension::dispatch);
        assert_eq!(outcome.verdict, Verdict::Done);
        let answer = outcome.to_host[0].arguments();
        assert_eq!(answer[..8], 2u64.to_le_bytes());
        assert_eq!(answer[8..16], 1574u64.to_le_bytes());
        assert_eq!(&answer[16..], b"how many?");
    }

    #[test]
    fn a_runt_is_dropped_and_not_counted() {
        fresh();
        let outcome = Call::packet(&[0; 13]).handler(PACKET.0).dispatch(extension::dispatch);
        assert_eq!(outcome.verdict, Verdict::Drop(Reason::Truncated));
        assert_eq!(PACKETS.get(), 0);
    }

    #[test]
    fn only_the_application_is_answered_and_long_questions_are_cut() {
        let stranger = Call::small(b"?").source(Endpoint::Peer(1)).run(ping);
        assert_eq!(stranger.verdict, Verdict::Drop(Reason::Unhandled));
        assert!(stranger.to_host.is_empty());
        let long = Call::small(&[7; 240]).run(ping);
        assert_eq!(long.to_host[0].arguments().len(), 16 + ECHO_BYTES);
    }

    #[test]
    fn the_manifest_says_what_is_written_above() {
        let manifest = Manifest::parse(&extension::MANIFEST).unwrap();
        assert_eq!(manifest.name(), "hello");
        let asked: Vec<_> =
            manifest.handlers().map(|h| (h.number, h.prefix, h.writeback)).collect();
        assert_eq!(asked, [(PACKET, 14, 0), (PING, 0, 0)]);
        assert_eq!(manifest.slot_stride(), extension::STRIDE);
    }

    #[test]
    fn an_unknown_number_is_nobodys() {
        let outcome = Call::small(b"").handler(77).dispatch(extension::dispatch);
        assert_eq!(outcome.verdict, Verdict::Drop(Reason::Unhandled));
    }
}
