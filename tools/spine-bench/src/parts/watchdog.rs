//! What the watchdog does in time: from a handler's stop to the next handler, and what one budget takes.
//!
//! `spine-bench watchdog` prints both. A packet that makes its handler loop for ever and one that does not arrive
//! by turns, one a turn of the loop; the time of the two turns together is taken 100,000 times, and so is
//! that of two harmless ones. The first minus the second is what a stop costs, with the few fuel units
//! that the loop may burn; the first alone is the longest a packet waits behind a stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use spine_abi::interface::Domains;
use spine_abi::manifest::{FIXED_BYTES, HANDLER_BYTES, HandlerDeclaration, build};
use spine_abi::{HandlerNumber, Nanos, Reason};
use spine_client::signature::SecretKey;
use spine_io::runtime::Adapter;
use spine_io::{AdapterSetup, Budget, Machine, RegionSource, TrustedKey};
use spine_nic::buffer::FrameMemory;
use spine_nic::loopback::{Generator, Loopback};
use spine_os::domain::Policy;
use spine_os::linker::Linker;
use spine_os::probe::{self, BudgetTimes, PROBES};

/// Times stops and budgets.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Handlers to stop.
    #[arg(long, default_value_t = 100_000)]
    kills: usize,
    /// Fuel that each burns before.
    #[arg(long, default_value_t = 100)]
    fuel: u64,
}

const HANDLER: HandlerNumber = HandlerNumber(1);

/// Loops for ever on a packet whose first byte is 1, and is finished with any other.
const MODULE: &str = r#"
    (import "spine:core" "next" (func $next (param i64) (result i64)))
    (memory (export "memory") 1)
    (func (export "run") (local $slot i32)
        (loop $again
            (local.set $slot (i32.wrap_i64 (call $next (i64.const 0))))
            (if (i32.eqz (local.get $slot)) (then (return)))
            (if (i32.eq (i32.load8_u offset=16 (local.get $slot)) (i32.const 1))
                (then (loop $forever (br $forever))))
            (br $again)))"#;

fn module() -> Vec<u8> {
    let handler = HandlerDeclaration { number: HANDLER, prefix: 64, writeback: 0 };
    let manifest: [u8; FIXED_BYTES + HANDLER_BYTES] =
        build("stopped", Domains::CORE, 0, &[handler]);
    let section: String = manifest.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let text = format!("(module {MODULE} (@custom \"spine.manifest\" \"{section}\"))");
    wat::parse_str(text).expect("our own module")
}

fn linker() -> (Linker, TrustedKey) {
    let linker = Linker::new(SecretKey::generate().expect("randomness"), Policy::everything())
        .expect("a compiler for this machine");
    let key = TrustedKey::from_bytes(&linker.public().to_bytes()).expect("a key");
    (linker, key)
}

/// An adapter on which these packets arrive by turns, one a turn.
fn adapter(packets: [u8; 2], fuel: u64) -> Adapter {
    let (linker, key) = linker();
    let image = linker.link(&module()).expect("it links");
    let (memory, mut dealt) = FrameMemory::anonymous(256, 2048, 1).expect("memory");
    let packets = packets.map(|first| [first; 60]);
    let nic = Generator::new("generator", Arc::clone(&memory), packets).stamped(HANDLER);
    let setup = AdapterSetup::new(Box::new(nic), dealt.pop().expect("frames"));
    let (mut adapters, handles) = Machine::by_hand(vec![setup], &memory, key).expect("an adapter");
    let budget = Budget { message: fuel, entry: 64 * fuel, strikes: u32::MAX };
    let loaded = handles[0].prepare(image.as_bytes(), Vec::new(), budget).expect("it loads");
    let mut adapter = adapters.pop().expect("one adapter");
    adapter.install(loaded).expect("its number is free");
    adapter.set_burst(1);
    adapter
}

/// The time of each two turns, sorted.
fn pairs(adapter: &mut Adapter, count: usize) -> Vec<u64> {
    let mut clock = 0;
    let mut turn = |adapter: &mut Adapter| {
        clock += 1_000_000;
        adapter.turn(Nanos(clock));
    };
    (0..100).for_each(|_| turn(adapter));
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        turn(adapter);
        turn(adapter);
        times.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    times.sort_unstable();
    times
}

fn kills(arguments: &Arguments) {
    let (mut harmless, mut stopped) =
        (adapter([0, 0], arguments.fuel), adapter([1, 0], arguments.fuel));
    let without = pairs(&mut harmless, arguments.kills);
    let with = pairs(&mut stopped, arguments.kills);
    let killed = stopped.counters().dropped.get(Reason::Stopped);
    assert!(killed >= arguments.kills as u64, "{killed} were stopped");
    assert_eq!(harmless.counters().strikes, 0);
    println!("{} stops after {} units of fuel each", arguments.kills, arguments.fuel);
    println!("two turns of the loop, ns        p50      p99      max");
    for (name, times) in [("without a stop", &without), ("with one", &with)] {
        let at = |p: usize| times[(times.len() - 1) * p / 100];
        println!("{name:<26} {:>9} {:>8} {:>8}", at(50), at(99), at(100));
    }
    let median = |times: &[u64]| times[times.len() / 2];
    println!("one stop: {} ns (difference of the medians)", median(&with) - median(&without));
}

fn budgets() {
    let (linker, key) = linker();
    let image = linker.link(&probe::module()).expect("the probe links");
    let (memory, mut dealt) = FrameMemory::anonymous(64, 2048, 1).expect("memory");
    let (nic, _wire) = Loopback::wire("wire", Arc::clone(&memory), 16).expect("a wire");
    let setup = AdapterSetup::new(Box::new(nic), dealt.pop().expect("frames"));
    let machine = Machine::start(vec![setup], &memory, &[None], key).expect("a machine");
    let region = probe::region().expect("memory");
    let file = region.file().try_clone().expect("a descriptor").into();
    let region = RegionSource { file, bytes: region.len() };
    let budget = Budget::default();
    let nanos = machine.adapters()[0]
        .probe(image.as_bytes(), vec![region], budget)
        .expect("the probe runs");
    println!("one budget of {} units, the stop included", budget.message);
    for (name, nanos) in PROBES.iter().zip(&nanos) {
        println!("{name:<40} {:>8.1} us", Duration::from_nanos(*nanos).as_secs_f64() * 1e6);
    }
    if let Some(times) = BudgetTimes::from_nanos(&nanos) {
        println!("{times}");
    }
}

/// Measures and prints.
pub(crate) fn main(arguments: &Arguments) {
    kills(arguments);
    budgets();
}
