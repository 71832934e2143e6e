//! The paper's card under the runtime's own dispatcher, in virtual time: periods, rates, latency.
//!
//! A forwarder in text form stands for the router; its fuel is made to take the published 4.0 us.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use crate::common::{FORWARD, MESSAGE, PACKET, extension, extension_with, key, setup};
use spine_abi::event::{Policy, TraceRecord};
use spine_abi::interface::Domain;
use spine_abi::{HandlerNumber, Nanos};
use spine_io::lanai::{Card, Lanai, Uniform, Way};
use spine_io::runtime::Adapter;
use spine_io::trace::Trace;
use spine_io::{AdapterSetup, Budget, Machine};
use spine_nic::buffer::FrameMemory;
use spine_nic::loopback::Generator;
use spine_nic::{Nic, schedule};

/// Fuel of the forwarder below for one packet of 576 bytes, copies included; the handler takes 4.0 us.
const PICOSECONDS_PER_FUEL: u64 = 4_000_000 / FUEL;
const FUEL: u64 = 36;

/// What a run showed.
struct Run {
    /// Nanoseconds between packets leaving, as a mean over the last nine tenths.
    period: u64,
    /// Nanoseconds from the detection of a packet to the return of its buffer: the median.
    latency: u64,
    lost: u64,
    records: Vec<TraceRecord>,
}

/// Sends `count` packets, one every `gap` nanoseconds, through the card.
fn run(card: Card, count: u64, gap: f64) -> Run {
    let (memory, dealt) = FrameMemory::anonymous(256, 2048, 2).expect("memory");
    let packets: Arc<[Box<[u8]>]> = Arc::new([vec![7; 576].into()]);
    let feed = Uniform::new(packets, count, gap, 0.0, 1);
    let card = Card { picoseconds_per_fuel: PICOSECONDS_PER_FUEL, ..card };
    let ingress = Lanai::new("lanai0", Arc::clone(&memory), card, feed).stamped(|_| PACKET);
    let (first, last) = ends(&ingress);
    let mut sink = Generator::new("lanai1", Arc::clone(&memory), [[0; 60]]);
    sink.limit(0);
    let nics: [Box<dyn Nic>; 2] = [Box::new(ingress), Box::new(sink)];
    let setups = nics.into_iter().zip(dealt).map(|(nic, frames)| setup(nic, frames));
    let (mut adapters, handles) =
        Machine::by_hand(setups.collect(), &memory, key()).expect("adapters");
    let image = extension(&[Domain::Peer], "", "", &format!("(local.set $verdict {FORWARD})"));
    let loaded = handles[0].prepare(&image, Vec::new(), Budget::default()).expect("loads");
    adapters[0].install(loaded).expect("installs");
    let (trace, mut reader) = Trace::new(100_000, u32::MAX, None);
    adapters[0].set_trace(trace);

    let mut records = Vec::new();
    let mut now = 0;
    while finished(&mut adapters[0]) < count {
        now += 100_000;
        adapters.iter_mut().for_each(|adapter| {
            adapter.turn(Nanos(now));
        });
        records.extend(std::iter::from_fn(|| reader.pop().ok()));
        assert!(now < 1_000_000_000_000, "the card stands still");
    }
    let lost = adapters[0].statistics().nic.receive_lost;
    measure(records, usize::from(first), usize::from(last), lost)
}

/// The kinds at which a packet's way through the card begins and ends.
fn ends(nic: &impl Nic) -> (u8, u8) {
    let kinds = nic.plan().kinds();
    let at = |name| kinds.iter().position(|kind| kind.name == name).expect("a kind of the card");
    (u8::try_from(at("rx_detect")).unwrap(), u8::try_from(at("buf_free")).unwrap())
}

fn finished(adapter: &mut Adapter) -> u64 {
    let statistics = adapter.statistics();
    statistics.counters.handled + statistics.nic.receive_lost
}

fn measure(records: Vec<TraceRecord>, first: usize, last: usize, lost: u64) -> Run {
    let of = |kind: usize| records.iter().filter(move |record| usize::from(record.kind) == kind);
    let left: Vec<u64> = of(last).map(|record| record.start + u64::from(record.nanos)).collect();
    let settled = left.len() / 10;
    let period = (left[left.len() - 1] - left[settled]) / (left.len() - 1 - settled) as u64;
    let mut latencies: Vec<u64> = of(first).zip(&left).map(|(from, to)| to - from.start).collect();
    latencies.sort_unstable();
    Run { period, latency: latencies[latencies.len() / 2], lost, records }
}

fn near(found: u64, expected: u64, percent: f64, what: &str) {
    let error = found.abs_diff(expected) as f64 * 100.0 / expected as f64;
    assert!(error <= percent, "{what}: {found} ns, expected {expected} within {percent} %");
}

fn with(policy: Policy) -> Card {
    Card { policy, ..Card::default() }
}

#[test]
fn strict_priority_of_the_network_makes_a_saturated_card_slow() {
    let run = run(with(schedule::PAPER), 2_000, 40_000.0);
    near(run.period, 89_400, 1.0, "four transfers, each seen at the end of a poll");
    assert!(run.lost > 0);
}

#[test]
fn in_order_of_readiness_or_with_the_bus_first_transfers_hide_under_the_next_packet() {
    for policy in [schedule::READINESS, schedule::PCI_FIRST, schedule::AGE, schedule::OLDEST_FIRST]
    {
        let run = run(with(policy), 2_000, 40_000.0);
        near(run.period, 55_000, 1.0, policy.name);
    }
}

#[test]
fn the_best_case_has_the_published_period_and_latency() {
    let run = run(with(schedule::PCI_FIRST), 1_000, 55_000.0);
    near(run.period, 55_000, 1.0, "period");
    near(run.latency, 100_000, 5.0, "latency");
    assert_eq!(run.lost, 0);
}

#[test]
fn hardware_fifos_chained_dma_and_a_fast_processor_give_what_section_7_says() {
    let best = with(schedule::PCI_FIRST);
    let period = |card, gap| run(card, 1_000, gap).period;
    let wire = Card { way: Way::Wire, policy: schedule::PAPER, ..best };
    near(period(wire, 30_000.0), 70_800, 1.0, "wire");
    let chained = Card { chained_dma: true, ..best };
    near(period(chained, 30_000.0), 43_000, 1.0, "chained");
    let both = Card { hardware_fifo: true, ..chained };
    near(period(both, 20_000.0), 33_000, 1.0, "both");
    near(period(both.with_fast_processor(), 4_000.0), 10_000, 3.0, "fast");
}

#[test]
fn each_packet_has_the_21_events_and_the_handler_and_a_run_repeats_to_the_record() {
    let one = run(with(schedule::PAPER), 100, 200_000.0);
    let of_one = one.records.iter().filter(|record| record.message == 50).count();
    assert_eq!(of_one, 22);
    let again = run(with(schedule::PAPER), 100, 200_000.0);
    assert!(one.records == again.records, "the same records");
}

#[test]
fn extensions_that_do_not_fit_in_the_cards_memory_are_refused_with_their_size() {
    let (memory, mut dealt) = FrameMemory::anonymous(16, 2048, 1).expect("memory");
    let packets: Arc<[Box<[u8]>]> = Arc::new([vec![7; 60].into()]);
    let feed = Uniform::new(packets, 0, 1.0, 0.0, 1);
    // So many receive buffers that 100 KB are left: enough for one extension with a page of memory.
    let card = Lanai::new("lanai0", Arc::clone(&memory), Card::default(), feed).with_buffers(380);
    let setup = AdapterSetup::new(Box::new(card), dealt.remove(0));
    let (mut adapters, handles) = Machine::by_hand(vec![setup], &memory, key()).expect("adapters");
    let mut install = |handlers| {
        let image = extension_with(handlers, &[], "", "", "(local.set $verdict (i64.const 0))");
        let loaded = handles[0].prepare(&image, Vec::new(), Budget::default()).expect("loads");
        adapters[0].install(loaded)
    };
    install([PACKET, MESSAGE]).expect("64 KiB fit");
    let error = install([HandlerNumber(7), HandlerNumber(8)]).expect_err("no room").to_string();
    assert!(error.contains("the card lanai0 has") && error.contains("bytes"), "{error}");
}
