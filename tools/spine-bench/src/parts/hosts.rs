//! Messages between two machines: the round trip of one, and how many a second, sealed and in order.
//!
//! Two adapters on two threads with a wire in memory between them, so what is measured is the protocol and
//! the runtime around it, and no kernel. One machine's extension sends what its application says to the
//! other's, which sends it back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use spine_abi::interface::{Domain, Domains};
use spine_abi::manifest::{FIXED_BYTES, HANDLER_BYTES, HandlerDeclaration, build};
use spine_abi::{Endpoint, HandlerNumber, Message};
use spine_client::signature::SecretKey;
use spine_io::{AdapterHandle, AdapterSetup, Budget, Machine, TrustedKey};
use spine_nic::buffer::FrameMemory;
use spine_nic::loopback::Loopback;
use spine_os::domain::Policy;
use spine_os::linker::Linker;
use spine_remote::{PairKey, RemoteAddress, RemoteSetup};

const HANDLER: HandlerNumber = HandlerNumber(2);
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
/// A message from the application goes to peer 1, the other machine.
const FROM_HOST: &str = "(i32.eq (i32.load16_u offset=4 (local.get $slot)) (i32.const 0x2000))";
const TO_REMOTE: &str = "(drop (call $peer (i32.const 1) (local.get $slot)))";
const TO_HOST: &str = "(drop (call $host (local.get $slot)))";

/// Round trips and messages a second between two adapters.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Messages in each run.
    #[arg(long, default_value_t = 20_000)]
    messages: usize,
    /// Runs; medians are printed.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Messages on their way at one time, for the rate.
    #[arg(long, default_value_t = 48)]
    window: usize,
}

fn extension(linker: &Linker, body: &str) -> Vec<u8> {
    let domains = Domains::CORE.with(Domain::Peer).with(Domain::Host);
    let handler = HandlerDeclaration { number: HANDLER, prefix: 0, writeback: 0 };
    let manifest: [u8; FIXED_BYTES + HANDLER_BYTES] = build("bounce", domains, 0, &[handler]);
    let section: String = manifest.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let text = format!(
        r#"(module
            (import "spine:core" "next" (func $next (param i64) (result i64)))
            (import "spine:peer" "send" (func $peer (param i32 i32) (result i32)))
            (import "spine:host" "send" (func $host (param i32) (result i32)))
            (memory (export "memory") 1)
            (global (export "__stack_pointer") (mut i32) (i32.const 8192))
            (func (export "run") (local $slot i32)
                (loop $again
                    (local.set $slot (i32.wrap_i64 (call $next (i64.const 0))))
                    (if (local.get $slot) (then {body} (br $again)))))
            (@custom "spine.manifest" "{section}"))"#
    );
    let wasm = wat::parse_str(&text).expect("the text is a module");
    linker.link(&wasm).unwrap_or_else(|error| panic!("{error}")).into_bytes()
}

fn machines() -> [Machine; 2] {
    let linker = Linker::new(SecretKey::generate().expect("randomness"), Policy::everything())
        .expect("a compiler for this machine");
    let key = TrustedKey::from_bytes(&linker.public().to_bytes()).expect("a key");
    let asks = format!("(if {FROM_HOST} (then {TO_REMOTE}) (else {TO_HOST}))");
    let images = [extension(&linker, &asks), extension(&linker, TO_REMOTE)];
    let made = [0, 1].map(|_| FrameMemory::anonymous(512, 2048, 1).expect("memory"));
    let [left, right] = made.each_ref().map(|(memory, _)| Arc::clone(memory));
    let (left, right) = Loopback::pair(("left", left), ("right", right), 256).expect("a wire");
    let mut parts = [left, right].into_iter().zip(images).zip([0, 1]);
    made.map(|(memory, mut dealt)| {
        let ((nic, image), side) = parts.next().expect("one for each");
        let address = RemoteAddress::Link { ours: MACS[side], theirs: MACS[1 - side] };
        let setup = AdapterSetup {
            remotes: vec![RemoteSetup { address, key: PairKey([7; 32]) }],
            ..AdapterSetup::new(Box::new(nic), dealt.pop().expect("one home"))
        };
        let machine = Machine::start(vec![setup], &memory, &[None], key).expect("a machine");
        let loaded = machine.adapters()[0].load(&image, Vec::new(), Budget::default());
        loaded.unwrap_or_else(|error| panic!("{error}"));
        machine
    })
}

/// Sends `count` messages, so many of them on their way at one time, and waits for all to come back.
fn exchange(adapter: &AdapterHandle, count: usize, window: usize) -> Duration {
    let start = Instant::now();
    let message = Message::small(HANDLER, Endpoint::Host, b"there and back");
    let mut sent = 0;
    for received in 0..count {
        while sent < count && sent - received < window {
            adapter.send(message.clone()).expect("the adapter runs");
            sent += 1;
        }
        adapter.receive(Duration::from_secs(10)).expect("it comes back");
    }
    start.elapsed()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Measures and prints.
pub(crate) fn main(arguments: &Arguments) {
    let &Arguments { messages, runs, window } = arguments;
    let machines = machines();
    let adapter = &machines[0].adapters()[0];
    exchange(adapter, 1000, 1);
    let each = |window: usize, messages: usize| {
        let seconds = |_| exchange(adapter, messages, window).as_secs_f64() / messages as f64;
        median((0..runs).map(seconds).collect())
    };
    println!("medians of {runs} runs");
    println!("round trip, one at a time        {:>9.1} us", each(1, messages / 10) * 1e6);
    println!(
        "there and back, {window:>3} on their way {:>9.0} a second",
        1.0 / each(window, messages)
    );
    let peering = adapter.statistics().expect("the adapter runs").remotes[0];
    println!("sent a second time: {}; lost: {}", peering.resent, peering.lost);
}
