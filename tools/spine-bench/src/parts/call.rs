//! What a call from one extension into another costs, and how many units of fuel that is here.
//!
//! `spine-bench call` times two extensions that differ in one thing: the loop of the one calls a function of its
//! own, that of the other calls the same function of another extension. The difference is the way across
//! and back, which [`EXTENSION_CALL`] pays for. A unit is what a plain instruction takes: the probe's
//! ordinary handler on a hundred budgets. All three are the medians of rounds that are taken by turns.

use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use spine_abi::declaration::{InterfaceDeclaration, Signature, build, length};
use spine_abi::image::Image;
use spine_abi::interface::{Domains, EXTENSION_CALL, Value};
use spine_abi::limits::FUEL_PER_MESSAGE;
use spine_abi::manifest::{FIXED_BYTES, HANDLER_BYTES, HandlerDeclaration, build_exporting};
use spine_abi::{HandlerNumber, Nanos};
use spine_client::signature::SecretKey;
use spine_io::runtime::Adapter;
use spine_io::{AdapterSetup, Budget, Machine, RegionSource, TrustedKey};
use spine_nic::buffer::FrameMemory;
use spine_nic::loopback::{Generator, Loopback};
use spine_os::domain::{Exports, Policy};
use spine_os::linker::Linker;
use spine_os::probe;

/// Times calls between extensions.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Rounds, of which the medians count.
    #[arg(long, default_value_t = 41)]
    rounds: usize,
    /// Messages in each.
    #[arg(long, default_value_t = 500)]
    messages: usize,
}

/// Calls for each message.
const CALLS: u32 = 100;
/// Far more than any message here needs.
const PLENTY: u64 = 1 << 40;
/// Budgets that the ordinary handler spends: its stop is nothing beside them.
const BUDGETS: u64 = 100;
const HANDLER: HandlerNumber = HandlerNumber(1);

const COUNT: InterfaceDeclaration<'_> =
    InterfaceDeclaration { name: "count", signature: Signature::new(&[], Some(Value::I64)) };
const SERVICE: [u8; length(1)] = build("service", &[COUNT]);

/// What is called, on either side.
const FUNCTION: &str = r"(result i64)
    (i64.store (i32.const 1024) (i64.add (i64.load (i32.const 1024)) (i64.const 1)))
    (i64.load (i32.const 1024))";

fn module(handler: u16, imports: &str, functions: &str, exports: &[u8]) -> Vec<u8> {
    let handler = HandlerDeclaration { number: HandlerNumber(handler), prefix: 64, writeback: 0 };
    let manifest: Vec<u8> = if exports.is_empty() {
        build_exporting::<{ FIXED_BYTES + HANDLER_BYTES }>(
            "caller",
            Domains::CORE,
            0,
            &[handler],
            &[],
        )
        .to_vec()
    } else {
        build_exporting::<{ FIXED_BYTES + HANDLER_BYTES + length(1) }>(
            "service",
            Domains::CORE,
            0,
            &[handler],
            exports,
        )
        .to_vec()
    };
    let section: String = manifest.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let text = format!(
        r#"(module
            (import "spine:core" "next" (func $next (param i64) (result i64)))
            {imports}
            (memory (export "memory") 1)
            {functions}
            (func (export "run") (local $left i32)
                (loop $again
                    (if (i64.eqz (call $next (i64.const 0))) (then (return)))
                    (local.set $left (i32.const {CALLS}))
                    (loop $more
                        (drop (call $call))
                        (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
                    (br $again)))
            (@custom "spine.manifest" "{section}"))"#
    );
    wat::parse_str(text).expect("our own module")
}

/// An extension that calls its own function, and one that calls another extension's.
struct Images {
    key: TrustedKey,
    own: Vec<u8>,
    service: Vec<u8>,
    other: Vec<u8>,
    probe: Vec<u8>,
}

fn images() -> Images {
    let linker = Linker::new(SecretKey::generate().expect("randomness"), Policy::everything())
        .expect("a compiler for this machine");
    let link = |wasm: &[u8], against: &Exports| {
        let image = linker.link_against(wasm, against);
        image.unwrap_or_else(|error| panic!("{error}")).into_bytes()
    };
    let nobody = Exports::none();
    let function = format!("(func $call {FUNCTION})");
    let own = link(&module(HANDLER.0, "", &function, &[]), &nobody);
    let exported = format!(r#"(func $call (export "service.count") {FUNCTION})"#);
    let service = link(&module(2, "", &exported, &SERVICE), &nobody);
    let against = Exports::none().with(&Image::parse(&service).expect("an image"));
    let import = r#"(import "service" "count" (func $call (result i64)))"#;
    let other = link(&module(HANDLER.0, import, "", &[]), &against);
    let key = TrustedKey::from_bytes(&linker.public().to_bytes()).expect("a key");
    Images { key, own, service, other, probe: link(&probe::module(), &nobody) }
}

/// An adapter on which a message arrives in every turn, for the last of these extensions.
fn adapter(key: TrustedKey, images: &[&[u8]]) -> Adapter {
    let (memory, mut dealt) = FrameMemory::anonymous(256, 2048, 1).expect("memory");
    let nic = Generator::new("generator", Arc::clone(&memory), [[0; 60]]).stamped(HANDLER);
    let setup = AdapterSetup::new(Box::new(nic), dealt.pop().expect("frames"));
    let (mut adapters, handles) = Machine::by_hand(vec![setup], &memory, key).expect("an adapter");
    let mut adapter = adapters.pop().expect("one adapter");
    let budget = Budget { message: PLENTY, entry: PLENTY, strikes: 1 };
    for image in images {
        let loaded = handles[0].prepare(image, Vec::new(), budget).expect("it loads");
        adapter.install(loaded).expect("its number is free");
    }
    adapter.set_burst(1);
    adapter
}

/// Nanoseconds for each call in a round, the loop around it included.
fn round(adapter: &mut Adapter, messages: usize) -> f64 {
    let start = Instant::now();
    for _ in 0..messages {
        let now = adapter.now().0 + 1_000_000;
        adapter.turn(Nanos(now));
    }
    start.elapsed().as_secs_f64() * 1e9 / messages as f64 / f64::from(CALLS)
}

/// Nanoseconds for a unit of plain instructions.
fn unit(machine: &Machine, image: &[u8], region: &spine_client::memory::Region) -> f64 {
    let file = region.file().try_clone().expect("a descriptor").into();
    let region = RegionSource { file, bytes: region.len() };
    let message = BUDGETS * FUEL_PER_MESSAGE;
    let budget = Budget { message, ..Budget::default() };
    let nanos = machine.adapters()[0].probe(image, vec![region], budget).expect("the probe runs");
    nanos.first().copied().unwrap_or(0) as f64 / message as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}

/// Measures and prints.
pub(crate) fn main(arguments: &Arguments) {
    let &Arguments { rounds, messages } = arguments;
    let images = images();
    let mut within = adapter(images.key, &[&images.own]);
    let mut across = adapter(images.key, &[&images.service, &images.other]);
    let (memory, mut dealt) = FrameMemory::anonymous(64, 2048, 1).expect("memory");
    let (nic, _wire) = Loopback::wire("wire", Arc::clone(&memory), 16).expect("a wire");
    let setup = AdapterSetup::new(Box::new(nic), dealt.pop().expect("frames"));
    let machine = Machine::start(vec![setup], &memory, &[None], images.key).expect("a machine");
    let region = probe::region().expect("memory");
    let (mut own, mut other, mut units) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..rounds + 1 {
        let figures = (round(&mut within, messages), round(&mut across, messages));
        // The first round warms up; a unit is timed in a few, since each takes the probe's worst cases, too.
        if turn > 0 {
            own.push(figures.0);
            other.push(figures.1);
        }
        if turn % 8 == 0 {
            units.push(unit(&machine, &images.probe, &region));
        }
    }
    assert_eq!((within.counters().strikes, across.counters().strikes), (0, 0));
    let expected = across.counters().entries * u64::from(CALLS) * EXTENSION_CALL;
    assert!(across.counters().fuel >= expected, "the calls were paid for");
    let (own, other, unit) = (median(own), median(other), median(units));
    println!("a call of its own function, with the loop around it   {own:>8.2} ns");
    println!("the same function of another extension                {other:>8.2} ns");
    println!("a unit of plain instructions                          {unit:>8.4} ns");
    let call = other - own;
    println!(
        "a call costs {call:.1} ns = {:.0} units here (EXTENSION_CALL is {EXTENSION_CALL})",
        call / unit
    );
}
