//! Cards of the paper's kind on wires in memory, in a wall's time that the test moves: a packet's latency,
//! the rates of a saturated card, what happens when the machine was busy, and full speed.
//!
//! A forwarder in text form stands for the router; its fuel is made to take the published 4.0 us.

mod stamped;

use std::sync::Arc;

use crate::common::{FORWARD, PACKET, extension, key};
use spine_abi::Nanos;
use spine_abi::event::Stage;
use spine_abi::interface::Domain;
use spine_io::lanai::{Card, Live, Speed};
use spine_io::runtime::{Adapter, Statistics};
use spine_io::{AdapterSetup, Budget, Machine};
use spine_nic::Nic as _;
use spine_nic::buffer::FrameMemory;
use spine_nic::layer::multiqueue::MultiQueue;
use spine_nic::loopback::{Loopback, Wire};
use stamped::{Stamped, Stamps};

/// Fuel of the forwarder for one packet, as in the experiments' test.
const FUEL: u64 = 36;
/// Nanoseconds from one turn to the next.
const STEP: u64 = 2_000;
/// Frames of each adapter: far fewer than the packets that pass.
const FRAMES: u32 = 128;

/// Two cards beside each other; what comes in at the first goes out at the second.
struct Cards {
    adapters: Vec<Adapter>,
    ingress: Wire,
    egress: Wire,
    /// When each packet that is injected comes, where that is said.
    stamps: Stamps,
    wall: u64,
}

impl Cards {
    fn new(speed: Speed) -> Self {
        let (memory, dealt) = FrameMemory::anonymous(2 * FRAMES, 2048, 2).expect("memory");
        let card = Card { picoseconds_per_fuel: 4_000_000 / FUEL, ..Card::default() };
        let wire = |name| {
            let (end, far) = Loopback::wire(name, Arc::clone(&memory), 64).expect("a wire");
            (end.stamped(PACKET), far)
        };
        let ((left, ingress), (right, egress)) = (wire("left"), wire("right"));
        let stamps = Stamps::default();
        let ends = [Stamped::new(left, stamps.clone()), Stamped::new(right, Stamps::default())];
        let setups = ends.into_iter().zip(dealt).map(|(wire, frames)| {
            AdapterSetup::new(Box::new(Live::new(wire, card, speed)), frames)
        });
        let (mut adapters, handles) =
            Machine::by_hand(setups.collect(), &memory, key()).expect("adapters");
        let image = extension(&[Domain::Peer], "", "", &format!("(local.set $verdict {FORWARD})"));
        let loaded = handles[0].prepare(&image, Vec::new(), Budget::default()).expect("loads");
        adapters[0].install(loaded).expect("installs");
        Self { adapters, ingress, egress, stamps, wall: 0 }
    }

    /// A turn of both, later by `nanos`; says whether either has something to do soon.
    fn turn(&mut self, nanos: u64) -> bool {
        self.wall += nanos;
        let mut busy = false;
        for adapter in &mut self.adapters {
            busy |= adapter.turn(Nanos(self.wall));
        }
        busy
    }

    fn statistics(&mut self) -> Statistics {
        self.adapters[0].statistics()
    }

    /// Offers packets of `bytes`, one every `gap` nanoseconds, for `nanos`, and says how many came out.
    fn offer(&mut self, bytes: usize, gap: u64, nanos: u64) -> u64 {
        let packet = vec![7; bytes];
        let (start, mut offered, mut out) = (self.wall, 0, 0);
        while self.wall < start + nanos {
            while start + offered * gap <= self.wall {
                assert!(self.ingress.inject(&packet), "the card takes what comes, or loses it");
                offered += 1;
            }
            self.turn(STEP);
            out += std::iter::from_fn(|| self.egress.take()).count() as u64;
        }
        out
    }
}

/// Nanoseconds from a packet's arrival to its departure, at a card that is otherwise idle.
fn latency(cards: &mut Cards) -> u64 {
    assert!(cards.ingress.inject(&[7; 576]));
    let start = cards.wall;
    loop {
        cards.turn(1_000);
        if cards.egress.take().is_some() {
            return cards.wall - start;
        }
        assert!(cards.wall < start + 1_000_000, "the packet does not leave");
    }
}

#[test]
fn an_idle_card_forwards_in_the_time_of_its_events_and_not_earlier() {
    let mut cards = Cards::new(Speed::Real);
    // 33 us of the network's events, 15 of the bus's up to the post of the tail, three transfers of 10.6 us
    // together that are noticed at the ends of polls, and 7.5 us of egress.
    for _ in 0..20 {
        let nanos = latency(&mut cards);
        assert!((70_000..120_000).contains(&nanos), "{nanos} ns");
        cards.turn(1_000_000);
    }
}

#[test]
fn a_saturated_card_forwards_at_the_published_rates() {
    for (bytes, published) in [(576, 11_300), (1500, 10_200)] {
        let mut cards = Cards::new(Speed::Real);
        let out = cards.offer(bytes, 50_000, 1_000_000_000);
        let error = out.abs_diff(published) * 100;
        assert!(error <= 2 * published, "{bytes} bytes: {out} packets/s, published {published}");
        let statistics = cards.statistics();
        let lost = statistics.nic.receive_lost;
        assert!(lost + out > 19_900, "{lost} lost and {out} forwarded of 20,000");
        assert_eq!(statistics.nic.late, 0);
    }
}

/// Packets that come out in a second of 20,000, where the machine does something else for 3 of every 4 ms.
fn rate_with_stalls(stamped: bool) -> (u64, Statistics) {
    let mut cards = Cards::new(Speed::Real);
    let (mut offered, mut out) = (0, 0);
    while cards.wall < 1_000_000_000 {
        let stall = if cards.wall % 4_000_000 < STEP { 3_000_000 } else { STEP };
        while offered * 50_000 <= cards.wall + stall {
            assert!(cards.ingress.inject(&[7; 576]));
            if stamped {
                cards.stamps.push(Nanos(offered * 50_000));
            }
            offered += 1;
        }
        cards.turn(stall);
        out += std::iter::from_fn(|| cards.egress.take()).count() as u64;
    }
    (out, cards.statistics())
}

#[test]
fn what_came_while_the_machine_did_something_else_came_when_its_stamp_says() {
    let (out, statistics) = rate_with_stalls(true);
    assert_eq!(statistics.nic.late, 0, "3 ms are caught up");
    assert!(out.abs_diff(11_300) * 100 <= 2 * 11_300, "{out} packets/s");
    // Without stamps all of it comes at the end of the stall, and a card has room for eight.
    let (out, _) = rate_with_stalls(false);
    assert!(out < 8_000, "{out} packets/s");
}

#[test]
fn the_times_of_several_queues_stand_in_the_order_of_their_packets() {
    let (memory, mut dealt) = FrameMemory::anonymous(64, 2048, 1).expect("memory");
    let mut frames = dealt.pop().expect("frames");
    let mut queue = |stamps: &[u64]| {
        let (wire, mut far) = Loopback::wire("queue", Arc::clone(&memory), 8).expect("a wire");
        let times = Stamps::default();
        stamps.iter().for_each(|at| times.push(Nanos(*at)));
        let mut wire = Stamped::new(wire, times);
        wire.refill(&mut frames);
        (wire, move |tag| assert!(far.inject(&[tag; 60])))
    };
    // The second queue says of its first packet only when it came.
    let (mut first, mut second) = (queue(&[10, 11, 12]), queue(&[20]));
    (10..13).for_each(&mut first.1);
    (20..23).for_each(&mut second.1);
    let mut nic = MultiQueue::new(first.0, vec![second.0]);
    let (mut got, mut seen) = (Vec::new(), 0);
    for _ in 0..4 {
        let count = nic.receive(&mut got, 2);
        let mut arrivals = Vec::new();
        nic.arrivals(&mut arrivals);
        assert_eq!(arrivals.len(), count);
        let new = got.iter().rev().take(count).rev().map(|frame| memory.packet(frame)[0]);
        for (tag, at) in new.zip(&arrivals) {
            let said = !(21..23).contains(&tag);
            assert_eq!(*at, said.then_some(Nanos(tag.into())));
        }
        seen += count;
    }
    assert_eq!(seen, 6);
}

#[test]
fn frames_go_home_and_are_used_again() {
    let mut cards = Cards::new(Speed::Real);
    assert_eq!(cards.offer(576, 200_000, 400_000_000), 2_000, "with 128 frames");
    cards.turn(STEP);
    cards.turn(STEP);
    for adapter in &mut cards.adapters {
        let (free, all) = adapter.statistics().frames;
        let lent = 64;
        assert_eq!(free + lent, all, "the others are lent to the wire");
    }
}

#[test]
fn a_card_that_was_not_run_in_time_leaves_time_out_and_says_so() {
    let mut cards = Cards::new(Speed::Real);
    cards.offer(576, 200_000, 10_000_000);
    assert!(cards.ingress.inject(&[7; 576]));
    cards.turn(STEP);
    // In the middle of a packet the machine does something else for 4 ms, and then for 40.
    cards.turn(4_000_000);
    assert_eq!(cards.statistics().nic.late, 0, "4 ms are caught up");
    // The egress card sees it in its next turns.
    for _ in 0..10 {
        cards.turn(STEP);
    }
    assert!(cards.egress.take().is_some());
    assert!(cards.ingress.inject(&[7; 576]));
    cards.turn(STEP);
    cards.turn(40_000_000);
    let nic = cards.statistics().nic;
    assert_eq!(nic.late, 1);
    assert!((39_000_000..=40_000_000).contains(&nic.left_out), "{} ns", nic.left_out);
    assert!(cards.egress.take().is_none(), "40 ms did not pass for the card");
    assert_eq!(cards.offer(576, 200_000, 10_000_000), 51, "that one, and 50 as before");
    assert_eq!(cards.statistics().nic.late, 1);
}

#[test]
fn a_card_that_had_nothing_to_do_is_not_late_and_does_not_poll_for_what_is_over() {
    let mut cards = Cards::new(Speed::Real);
    latency(&mut cards);
    while cards.turn(STEP) {}
    let before = cards.statistics().counters.events[Stage::Idle as usize];
    cards.turn(3_000_000_000);
    let nanos = latency(&mut cards);
    let statistics = cards.statistics();
    assert!(nanos < 120_000, "{nanos} ns");
    assert_eq!(statistics.nic.late, 0);
    let polls = statistics.counters.events[Stage::Idle as usize] - before;
    assert!(polls < 50, "{polls} polls, and 3 s have 350,000");
}

#[test]
fn a_card_with_a_packet_in_it_says_that_it_is_busy_and_an_idle_one_that_it_is_not() {
    let mut cards = Cards::new(Speed::Real);
    while cards.turn(STEP) {}
    assert!(!cards.turn(1_000_000));
    assert!(cards.ingress.inject(&[7; 576]));
    let start = cards.wall;
    while cards.egress.take().is_none() {
        assert!(cards.turn(1_000), "busy until it has left");
        assert!(cards.wall < start + 1_000_000);
    }
}

#[test]
fn at_full_speed_nothing_is_waited_for_and_nothing_lost() {
    let mut cards = Cards::new(Speed::Max);
    let (mut sent, mut out) = (0, 0);
    for _ in 0..1_000 {
        for _ in 0..50 {
            sent += u64::from(cards.ingress.inject(&[7; 576]));
        }
        // The wall stands still.
        while cards.turn(0) {}
        out += std::iter::from_fn(|| cards.egress.take()).count() as u64;
    }
    assert_eq!((sent, out), (50_000, 50_000));
    let statistics = cards.statistics();
    assert_eq!((statistics.nic.receive_lost, statistics.nic.late), (0, 0));
    assert!(statistics.mode.contains("full speed"), "{}", statistics.mode);
    assert!(cards.adapters[0].now() > Nanos(2_000_000_000), "its own time went on");
}
