//! Timers: on wires in memory with a clock set by hand, on the paper's card in its own time, and for real.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::{MESSAGE, PACKET, Rig, extension, key, setup, wait_until};
use spine_abi::interface::Domain;
use spine_abi::limits::TIMERS;
use spine_abi::{Endpoint, Message, Nanos, Reason};
use spine_io::lanai::{Card, Lanai, Uniform};
use spine_io::runtime::Adapter;
use spine_io::{AdapterHandle, Budget, ExtensionId, Machine};
use spine_nic::Nic;
use spine_nic::buffer::{Frame, FrameMemory};
use spine_nic::loopback::Loopback;

const IMPORTS: &str = r#"
    (import "spine:timer" "arm" (func $arm (param i32 i32 i64) (result i32)))
    (import "spine:timer" "cancel" (func $cancel (param i32) (result i32)))
    (import "spine:host" "send" (func $send (param i32) (result i32)))"#;

/// Arms a timer of so many microseconds from `init`, and again in each message of the runtime, which it
/// passes on to the application with its token; whatever else it is sent ends its last timer.
fn ticker(microseconds: u32) -> Vec<u8> {
    let arm = format!(
        "(global.set $timer (call $arm (i32.const {microseconds}) (i32.const 2) (i64.const 77)))"
    );
    let items = format!(
        r#"(global $timer (mut i32) (i32.const 0))
        (func (export "init") {arm})
        (data (i32.const 512) "\09\00\00\00\00\00\08\00")"#
    );
    let body = format!(
        "(if (i64.eq (i64.load offset=16 (local.get $slot)) (i64.const 77))
            (then {arm} (i64.store (i32.const 528) (i64.load offset=16 (local.get $slot)))
                (drop (call $send (i32.const 512))))
            (else (drop (call $cancel (global.get $timer)))))"
    );
    extension(&[Domain::Timer, Domain::Host], IMPORTS, &items, &body)
}

/// One adapter, turned by hand.
fn alone(
    nic: Box<dyn Nic>,
    memory: &Arc<FrameMemory>,
    frames: Vec<Frame>,
) -> (Adapter, AdapterHandle) {
    let setups = vec![setup(nic, frames)];
    let (mut adapters, mut handles) = Machine::by_hand(setups, memory, key()).unwrap();
    (adapters.pop().unwrap(), handles.pop().unwrap())
}

fn wire() -> (Adapter, AdapterHandle) {
    let (memory, mut dealt) = FrameMemory::anonymous(64, 2048, 1).unwrap();
    let (nic, _wire) = Loopback::wire("timed", Arc::clone(&memory), 16).unwrap();
    alone(Box::new(nic), &memory, dealt.pop().unwrap())
}

fn install(adapter: &mut Adapter, handle: &AdapterHandle, image: &[u8]) -> ExtensionId {
    let loaded = handle.prepare(image, Vec::new(), Budget::default()).unwrap();
    adapter.install(loaded).unwrap()
}

fn told(handle: &AdapterHandle) -> usize {
    std::iter::from_fn(|| handle.receive(Duration::ZERO))
        .inspect(|message| assert_eq!(message.arguments(), 77u64.to_le_bytes()))
        .count()
}

#[test]
fn a_timer_is_due_at_its_time_by_the_clock_it_is_given_and_not_before() {
    let (mut adapter, handle) = wire();
    adapter.turn(Nanos(1_000_000));
    install(&mut adapter, &handle, &ticker(250));
    for (now, expected) in [
        (1_100_000, 0),
        (1_249_999, 0),
        (1_250_000, 1),
        (1_499_999, 0),
        (1_500_000, 1),
        (9_000_000, 1),
    ] {
        adapter.turn(Nanos(now));
        assert_eq!(told(&handle), expected, "at {now}");
    }
    let handled = adapter.counters().handled;
    assert_eq!((handled, adapter.counters().strikes), (3, 0), "messages as any other");
    assert!(adapter.counters().fuel > 0);
}

#[test]
fn a_timer_that_is_cancelled_or_whose_extension_ends_is_not_due() {
    let (mut adapter, handle) = wire();
    let id = install(&mut adapter, &handle, &ticker(250));
    handle.send(Message::small(MESSAGE, Endpoint::Host, &[])).unwrap();
    adapter.turn(Nanos(1000));
    adapter.turn(Nanos(10_000_000));
    assert_eq!((told(&handle), adapter.counters().handled), (0, 1), "cancelled");
    adapter.unload(id);
    let id = install(&mut adapter, &handle, &ticker(250));
    adapter.unload(id);
    adapter.turn(Nanos(30_000_000));
    assert_eq!((told(&handle), adapter.counters().handled), (0, 1), "gone");
    // Its next version goes on.
    let id = install(&mut adapter, &handle, &ticker(1_000));
    let loaded = handle.prepare(&ticker(400_000), Vec::new(), Budget::default()).unwrap();
    adapter.replace(id, loaded).unwrap();
    adapter.turn(Nanos(31_000_000));
    assert_eq!(told(&handle), 1, "what the version before had armed");
}

#[test]
fn on_the_paper_s_card_time_is_the_card_s() {
    let (memory, mut dealt) = FrameMemory::anonymous(64, 2048, 1).unwrap();
    let feed = Uniform::new(Arc::new([vec![7; 64].into()]), 0, 1e6, 0.0, 1);
    let card = Card { picoseconds_per_fuel: 100, ..Card::default() };
    let nic = Lanai::new("lanai", Arc::clone(&memory), card, feed).stamped(|_| PACKET);
    let (mut adapter, handle) = alone(Box::new(nic), &memory, dealt.pop().unwrap());
    install(&mut adapter, &handle, &ticker(1000));
    let mut ticks = 0;
    for now in 1..=100_u64 {
        adapter.turn(Nanos(now * 1_000_000));
        ticks += told(&handle);
    }
    // A hundred milliseconds of a card that polls, and is late by an event or two each time.
    assert!((95..=100).contains(&ticks), "{ticks} ticks");
}

#[test]
fn an_adapter_that_sleeps_wakes_for_its_timers() {
    let rig = Rig::new(1);
    let begun = Instant::now();
    rig.load(&ticker(5_000));
    let mut ticks = 0;
    wait_until("twenty ticks", || {
        ticks += told(rig.adapter(0));
        ticks >= 20
    });
    assert!(begun.elapsed() >= Duration::from_millis(100), "not before their time");
    let calls = rig.machine.syscalls();
    std::thread::sleep(Duration::from_millis(500));
    let calls = rig.machine.syscalls() - calls;
    // Two hundred times a second, a few system calls each: it does not look on in between.
    assert!(calls <= 100 * 8, "{calls} system calls for a hundred ticks");
}

#[test]
fn a_flood_of_timers_is_bounded_and_neighbours_sleep_no_worse() {
    let (mut adapter, handle) = wire();
    // As many as it gets, in every message.
    let body = "(loop $more (br_if $more (i32.ge_s
        (call $arm (i32.const 0) (i32.const 2) (i64.const 1)) (i32.const 0))))";
    let image = extension(&[Domain::Timer, Domain::Host], IMPORTS, "", body);
    install(&mut adapter, &handle, &image);
    handle.send(Message::small(MESSAGE, Endpoint::Host, &[])).unwrap();
    adapter.turn(Nanos(1));
    for turn in 1..=100_u64 {
        let before = adapter.counters().handled;
        adapter.turn(Nanos(turn * 1_000_000));
        assert!(adapter.counters().handled - before <= TIMERS as u64, "turn {turn}");
    }
    let counters = adapter.counters();
    assert_eq!(counters.handled, 1 + 100 * TIMERS as u64);
    assert_eq!((counters.strikes, counters.messages_dropped.get(Reason::QueueFull)), (0, 0));
}
