//! What a neighbour notices of somebody else's extensions whose memory is cold, in time.
//!
//! `spine-bench strangers` prints how long a packet is on its way through an extension and out again, alone and beside
//! extensions of another user that chase pointers through cold memory as long as they are let. The counts that must
//! hold are tested (`tests/safety/strangers`); this is the figure beside them, of one machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use spine_abi::interface::{Domain, Domains};
use spine_abi::manifest::{FIXED_BYTES, HANDLER_BYTES, HandlerDeclaration, build};
use spine_abi::{Endpoint, HandlerNumber, Message};
use spine_client::signature::SecretKey;
use spine_io::{AdapterSetup, Budget, Machine, TrustedKey, User};
use spine_nic::buffer::FrameMemory;
use spine_nic::loopback::{Loopback, Wire};
use spine_os::domain::Policy;
use spine_os::linker::Linker;

/// Times a neighbour's packets beside cold memory.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Packets whose way is timed, one after the other.
    #[arg(long, default_value_t = 20_000)]
    packets: u32,
    /// Extensions beside them.
    #[arg(long, default_value_t = 4)]
    offenders: u16,
}

const NEIGHBOUR: HandlerNumber = HandlerNumber(1);
/// The first offender's handler.
const OFFENDERS: u16 = 11;
/// The verdict "out of the own wire".
const ECHO: &str = r#"
    (import "spine:core" "next" (func $next (param i64) (result i64)))
    (memory (export "memory") 1)
    (func (export "run") (local $verdict i64)
        (loop $again
            (if (i64.eqz (call $next (local.get $verdict))) (then (return)))
            (local.set $verdict (i64.const 3))
            (br $again)))"#;
/// The misdeed that the tests commit, too.
const COLD: &str = include_str!("../../../../tests/extensions/cold_chase/extension.wat");

/// A module's text with its manifest, put before the last parenthesis.
fn module(text: &str, handler: HandlerNumber, domains: Domains) -> Vec<u8> {
    let handler = HandlerDeclaration { number: handler, prefix: 64, writeback: 0 };
    let manifest: [u8; FIXED_BYTES + HANDLER_BYTES] = build("bench", domains, 0, &[handler]);
    let section: String = manifest.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let lines = text.lines().map(|line| match line.split_once(";; times ") {
        Some((line, times)) => line.repeat(times.trim().parse().expect("a number")) + "\n",
        None => format!("{line}\n"),
    });
    let text: String = lines.collect();
    let end = text.rfind(')').expect("a module");
    let whole = format!("{}(@custom \"spine.manifest\" \"{section}\"))", &text[..end]);
    wat::parse_str(whole).expect("our own module")
}

/// An adapter with the neighbour, and what is beside it.
struct Street {
    machine: Machine,
    wire: Wire,
    offenders: Vec<HandlerNumber>,
}

impl Street {
    fn new(offenders: u16) -> Self {
        let linker = Linker::new(SecretKey::generate().expect("randomness"), Policy::everything())
            .expect("a compiler for this machine");
        let key = TrustedKey::from_bytes(&linker.public().to_bytes()).expect("a key");
        let (memory, mut dealt) = FrameMemory::anonymous(512, 2048, 1).expect("memory");
        let (nic, wire) = Loopback::wire("wire", Arc::clone(&memory), 64).expect("a wire");
        let setup =
            AdapterSetup::new(Box::new(nic.stamped(NEIGHBOUR)), dealt.pop().expect("frames"));
        let machine = Machine::start(vec![setup], &memory, &[None], key).expect("a machine");
        let load = |wasm: &[u8], owner: User| {
            let image = linker.link(wasm).expect("it links");
            let budget = Budget { strikes: u32::MAX, ..Budget::default() };
            let adapter = &machine.adapters()[0];
            let loaded = adapter.prepare(image.as_bytes(), Vec::new(), budget);
            let mut loaded = loaded.unwrap_or_else(|error| panic!("{error}"));
            loaded.set_user(owner);
            adapter.install(loaded).unwrap_or_else(|error| panic!("{error}"));
        };
        let text = format!("(module {ECHO})");
        load(&module(&text, NEIGHBOUR, Domains::CORE.with(Domain::Net)), User(1));
        let offenders: Vec<_> = (OFFENDERS..OFFENDERS + offenders).map(HandlerNumber).collect();
        for handler in &offenders {
            load(&module(COLD, *handler, Domains::CORE), User(2));
        }
        Self { machine, wire, offenders }
    }

    /// The way of each of so many packets, sorted, in nanoseconds; one message goes to each offender before it.
    fn ways(&mut self, packets: u32) -> Vec<u64> {
        let mut times = Vec::new();
        for _ in 0..packets {
            for handler in &self.offenders {
                let message = Message::small(*handler, Endpoint::Host, &[]);
                self.machine.adapters()[0].send(message).expect("a running adapter");
            }
            let start = Instant::now();
            while !self.wire.inject(&[0; 60]) {
                std::hint::spin_loop();
            }
            while self.wire.take().is_none() {
                assert!(start.elapsed() < Duration::from_secs(5), "a packet is lost");
                std::hint::spin_loop();
            }
            times.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        times.sort_unstable();
        times
    }
}

/// Measures and prints.
pub(crate) fn main(arguments: &Arguments) {
    println!("the way of {} packets, us              p50      p99      max", arguments.packets);
    for offenders in [0, arguments.offenders] {
        let mut street = Street::new(offenders);
        let times = street.ways(arguments.packets);
        let at = |p: usize| Duration::from_nanos(times[(times.len() - 1) * p / 100]).as_secs_f64();
        let [p50, p99, max] = [50, 99, 100].map(|p| at(p) * 1e6);
        println!(
            "beside {offenders:>3} of one other user        {p50:>10.1} {p99:>8.1} {max:>8.1}"
        );
        let known = street.machine.adapters()[0].statistics().expect("an answer").extensions;
        for it in known.iter().filter(|it| it.user == User(2)) {
            let bill = it.bill;
            println!(
                "  number {}: {} messages, {} stopped for their price, {:.1} us each, {:.1} ns a unit",
                it.id.0,
                bill.messages,
                bill.too_dear,
                Duration::from_nanos(bill.nanos / bill.messages.max(1)).as_secs_f64() * 1e6,
                Duration::from_nanos(it.picos_per_unit).as_secs_f64() * 1e6,
            );
        }
    }
}
