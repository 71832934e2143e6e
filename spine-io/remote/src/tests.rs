use std::net::{Ipv4Addr, SocketAddrV4};

use spine_abi::{Endpoint, HandlerNumber};

use super::*;

const MILLISECOND: u64 = 1_000_000;

/// What a wire does to packets, one in so many; zero: never.
#[derive(Clone, Copy, Default)]
struct Faults {
    lose: u64,
    repeat: u64,
    reorder: u64,
    corrupt: u64,
}

/// Two machines and what is between them, in simulated time.
struct World {
    sides: [Remotes; 2],
    wire: Vec<(u64, usize, Vec<u8>)>,
    faults: Faults,
    random: fastrand::Rng,
    now: u64,
    received: [Vec<u32>; 2],
    /// Every packet that was ever sent, for whoever wants to play it again.
    heard: Vec<(usize, Vec<u8>)>,
    /// The receiver's queue takes one in so many.
    slow: u64,
}

fn link(key: [u8; 32]) -> [RemoteSetup; 2] {
    let (a, b) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    [(a, b), (b, a)].map(|(ours, theirs)| RemoteSetup {
        address: RemoteAddress::Link { ours, theirs },
        key: PairKey(key),
    })
}

fn udp(key: [u8; 32]) -> [RemoteSetup; 2] {
    let at = |last| SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, last), 4040);
    let mac = |last| [2, 0, 0, 0, 0, last];
    [(1, 2), (2, 1)].map(|(ours, theirs)| RemoteSetup {
        address: RemoteAddress::Udp {
            ours: mac(ours),
            next_hop: mac(theirs),
            from: at(ours),
            to: at(theirs),
        },
        key: PairKey(key),
    })
}

impl World {
    fn new(setups: [RemoteSetup; 2], faults: Faults, seed: u64) -> Self {
        Self {
            sides: setups.map(|setup| Remotes::new(vec![setup])),
            wire: Vec::new(),
            faults,
            random: fastrand::Rng::with_seed(seed),
            now: 0,
            received: [Vec::new(), Vec::new()],
            heard: Vec::new(),
            slow: 1,
        }
    }

    fn one_in(&mut self, n: u64) -> bool {
        n > 0 && self.random.u64(0..n) == 0
    }

    fn put(&mut self, to: usize, mut packet: Vec<u8>) {
        self.heard.push((to, packet.clone()));
        if self.one_in(self.faults.lose) {
            return;
        }
        if self.one_in(self.faults.corrupt) {
            let bit = self.random.usize(0..packet.len() * 8);
            packet[bit / 8] ^= 1 << (bit % 8);
        }
        let late =
            if self.one_in(self.faults.reorder) { self.random.u64(0..2 * MILLISECOND) } else { 0 };
        let at = self.now + 50_000 + late;
        if self.one_in(self.faults.repeat) {
            self.wire.push((at + 30_000, to, packet.clone()));
        }
        self.wire.push((at, to, packet));
    }

    /// One step of 20 us.
    fn step(&mut self) {
        self.now += 20_000;
        let now = Nanos(self.now);
        let (due, later) =
            std::mem::take(&mut self.wire).into_iter().partition(|(at, ..)| *at <= self.now);
        self.wire = later;
        let mut due: Vec<_> = due;
        due.sort_by_key(|(at, ..)| *at);
        for (_, to, packet) in due {
            self.sides[to].receive(&packet, now);
        }
        for side in 0..2 {
            let received = &mut self.received[side];
            let (random, slow) = (&mut self.random, self.slow);
            self.sides[side].deliver(|_, message| {
                if slow > 1 && random.u64(0..slow) != 0 {
                    return false;
                }
                let number =
                    message.arguments().first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
                received.extend(number);
                true
            });
            let mut packets = Vec::new();
            self.sides[side].poll(now, |packet| {
                packets.push(packet.to_vec());
                true
            });
            packets.into_iter().for_each(|packet| self.put(1 - side, packet));
        }
    }

    /// Sends `count` messages each way as fast as they are taken, and waits until all have arrived.
    fn exchange(&mut self, count: u32) {
        let before = self.received.each_ref().map(Vec::len);
        let mut next = [0; 2];
        for _ in 0..2_000_000 {
            for (remotes, next) in self.sides.iter_mut().zip(&mut next) {
                while *next < count && remotes.send(0, numbered(*next)) {
                    *next += 1;
                }
            }
            self.step();
            if (0..2).all(|side| self.received[side].len() - before[side] >= count as usize) {
                break;
            }
        }
        // What comes late must not come again.
        (0..5000).for_each(|_| self.step());
        for (received, before) in self.received.iter().zip(before) {
            assert!(received[before..].iter().copied().eq(0..count), "{:?}", &received[before..]);
        }
    }

    fn statistics(&self, side: usize) -> PeeringStatistics {
        self.sides[side].statistics().next().unwrap()
    }
}

fn numbered(number: u32) -> Message {
    Message::small(HandlerNumber(7), Endpoint::Host, &number.to_le_bytes())
}

const KEY: [u8; 32] = [9; 32];

#[test]
fn messages_arrive_in_order_on_a_good_wire_and_none_is_sent_twice() {
    for setups in [link(KEY), udp(KEY)] {
        let mut world = World::new(setups, Faults::default(), 1);
        world.exchange(2000);
        for side in 0..2 {
            let counted = world.statistics(side);
            assert_eq!(
                (counted.resent, counted.refused, counted.sessions),
                (0, 0, 1),
                "{counted:?}"
            );
        }
    }
}

#[test]
fn nothing_is_lost_and_nothing_comes_twice_whatever_the_wire_does() {
    let bad = Faults { lose: 5, repeat: 6, reorder: 4, corrupt: 10 };
    for seed in 0..8 {
        let mut world = World::new(if seed % 2 == 0 { link(KEY) } else { udp(KEY) }, bad, seed);
        world.exchange(1000);
        let counted = world.statistics(0);
        assert!(counted.resent > 0 && counted.refused > 0, "the wire was bad: {counted:?}");
    }
}

#[test]
fn a_slow_receiver_slows_its_sender_down_and_loses_nothing() {
    let mut world = World::new(link(KEY), Faults { lose: 20, ..Faults::default() }, 3);
    world.slow = 4;
    world.exchange(800);
}

#[test]
fn with_another_key_nothing_arrives_and_nothing_changes() {
    let [ours, _] = link(KEY);
    let [_, theirs] = link([8; 32]);
    let mut world = World::new([ours, theirs], Faults::default(), 4);
    world.sides[0].send(0, numbered(1));
    world.sides[1].send(0, numbered(1));
    (0..100_000).for_each(|_| world.step());
    assert!(world.received.iter().all(Vec::is_empty));
    for side in 0..2 {
        assert_eq!(world.statistics(side).sessions, 0);
        assert!(world.statistics(1).refused > 0);
    }
    let packets = world.heard.len();
    assert!(packets < 100, "{packets} packets in two seconds: whoever has no key is asked rarely");
}

#[test]
fn packets_played_again_change_nothing() {
    let mut world = World::new(link(KEY), Faults::default(), 5);
    world.exchange(100);
    let before: Vec<_> = (0..2).map(|side| world.statistics(side)).collect();
    let old = world.heard.clone();
    for (to, packet) in &old {
        world.sides[*to].receive(packet, Nanos(world.now));
        world.step();
    }
    (0..5000).for_each(|_| world.step());
    assert_eq!(world.received.each_ref().map(Vec::len), [100, 100]);
    for (side, before) in before.iter().enumerate() {
        let after = world.statistics(side);
        assert_eq!(
            (after.received, after.lost, after.duplicates),
            (before.received, 0, before.duplicates)
        );
    }
    world.exchange(100);
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let mut world = World::new(link(KEY), Faults::default(), 6);
    world.exchange(10);
    world.sides[0].send(0, numbered(10));
    let mut packet = Vec::new();
    world.sides[0].poll(Nanos(world.now), |bytes| {
        packet = bytes.to_vec();
        true
    });
    let frame = 16..packet.len();
    for bit in frame.start * 8..frame.end * 8 {
        let mut flipped = packet.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        world.sides[1].receive(&flipped, Nanos(world.now));
        let moved = world.sides[1].deliver(|_, _| true);
        assert!(!moved, "bit {bit}");
    }
    world.sides[1].receive(&packet, Nanos(world.now));
    assert!(world.sides[1].deliver(|_, _| true), "unflipped it is taken");
}

#[test]
fn a_side_that_starts_anew_is_found_again_by_either_and_gets_nothing_old() {
    for restarted in 0..2 {
        let mut world = World::new(link(KEY), Faults::default(), 7);
        world.exchange(50);
        let fresh = link(KEY)[restarted].clone();
        world.sides[restarted] = Remotes::new(vec![fresh]);
        // These may reach the new one or nobody; they must not come later in a place of their own.
        let sent = 5;
        for number in 0..sent {
            world.sides[1 - restarted].send(0, numbered(1000 + number));
        }
        (0..50_000).for_each(|_| world.step());
        let arrived = world.received[restarted].split_off(50);
        let lost = world.statistics(1 - restarted).lost;
        assert_eq!(arrived.len() as u64 + lost, u64::from(sent), "restarted {restarted}");
        world.exchange(50);
    }
}

#[test]
fn nonsense_from_the_wire_does_no_harm() {
    let mut world = World::new(link(KEY), Faults::default(), 8);
    world.exchange(10);
    let mut random = fastrand::Rng::with_seed(9);
    for _ in 0..20_000 {
        let mut packet: Vec<u8> = (0..random.usize(0..200)).map(|_| random.u8(..)).collect();
        // Often enough it looks like one of ours.
        let header =
            [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5, 0, 60, random.u8(0..9), 0, 0, 0];
        for (to, from) in packet.iter_mut().zip(header) {
            *to = from;
        }
        world.sides[1].receive(&packet, Nanos(world.now));
    }
    world.exchange(10);
}

#[test]
fn a_strangers_packets_look_like_a_peers_and_are_told_from_other_peoples() {
    let packet_of = |setups: [RemoteSetup; 2], source: [u8; 6], port: u16| {
        let mut sender = Remotes::new(setups[..1].to_vec());
        let mut packet = Vec::new();
        sender.send(0, numbered(0));
        sender.poll(Nanos(0), |bytes| {
            packet = bytes.to_vec();
            true
        });
        packet[6..12].copy_from_slice(&source);
        if packet[12..14] == [8, 0] {
            packet[34..36].copy_from_slice(&port.to_be_bytes());
        }
        packet
    };
    for (setups, stranger) in [
        (link(KEY), packet_of(link(KEY), [2, 0, 0, 0, 0, 9], 0)),
        (udp(KEY), packet_of(udp(KEY), [2, 0, 0, 0, 0, 1], 4041)),
    ] {
        let mut receiver = Remotes::new(setups[1..].to_vec());
        assert!(!receiver.receive(&stranger, Nanos(0)));
        assert!(receiver.is_stray(&stranger));
        let mut elsewhere = stranger;
        // Another EtherType; another port.
        let at = if elsewhere[12..14] == [8, 0] { 37 } else { 13 };
        elsewhere[at] ^= 1;
        assert!(!receiver.is_stray(&elsewhere));
        assert!(!receiver.is_stray(&elsewhere[..20]));
    }
}

fn ethernet_least() -> usize {
    spine_headers::ethernet::LEAST_BYTES
}

/// What the frames in packets on the link are: their first byte.
fn kind(packet: &[u8]) -> u8 {
    packet[16]
}

#[test]
fn frames_played_again_cost_no_agreement_and_are_answered_rarely_and_briefly() {
    const FIRST: u8 = 7;
    let mut world = World::new(link(KEY), Faults::default(), 10);
    world.exchange(10);
    let of_handshake = |(_, packet): &&(usize, Vec<u8>)| matches!(kind(packet), 1 | 2 | 5 | 6 | 7);
    let old: Vec<_> = world.heard.iter().filter(of_handshake).cloned().collect();
    assert!(old.iter().any(|(_, packet)| kind(packet) == FIRST), "the handshake was heard");
    let played = 20_000;
    // Once to those who know the session, and once to a responder that was started anew and knows nothing.
    for anew in [false, true] {
        if anew {
            world.sides[1] = Remotes::new(vec![link(KEY)[1].clone()]);
        }
        let before = [0, 1].map(|side| world.statistics(side).agreements);
        let heard = world.heard.len();
        for _ in 0..played {
            // 20,000 of each in a second, with nothing of the honest side's between them.
            world.now += MILLISECOND / 20;
            for (to, packet) in &old {
                world.sides[*to].receive(packet, Nanos(world.now));
            }
            let now = Nanos(world.now);
            for side in 0..2 {
                world.sides[side].poll(now, |packet| {
                    world.heard.push((1 - side, packet.to_vec()));
                    true
                });
            }
        }
        let after = [0, 1].map(|side| world.statistics(side).agreements);
        assert_eq!(after, before, "anew: {anew}");
        let answers = &world.heard[heard..];
        // A second, in which each nonce is answered a hundred times at most.
        assert!(answers.len() <= 100 + 20, "{} answers to {played} of each kind", answers.len());
        let longest = answers.iter().map(|(_, packet)| packet.len()).max().unwrap_or(0);
        assert!(longest <= ethernet_least().max(16 + 4 + 8 + 16), "{longest}");
    }
    // To somebody who is gone.
    world.sides[0].send(0, numbered(1));
    (0..50_000).for_each(|_| world.step());
    world.exchange(10);
}

#[test]
fn a_session_begins_while_old_frames_are_played() {
    let mut world = World::new(link(KEY), Faults::default(), 11);
    world.exchange(10);
    let old: Vec<_> = world.heard.iter().filter(|(_, packet)| kind(packet) != 3).cloned().collect();
    for restarted in 0..2 {
        world.sides[restarted] = Remotes::new(vec![link(KEY)[restarted].clone()]);
        let before = [0, 1].map(|side| world.statistics(side).sessions);
        world.sides[0].send(0, numbered(1));
        let steps = (0..100_000).take_while(|_| {
            for (to, packet) in &old {
                world.sides[*to].receive(packet, Nanos(world.now));
            }
            world.step();
            (0..2).any(|side| world.statistics(side).sessions == before[side])
        });
        // A second of 20 us steps, in simulated time.
        assert!(steps.count() < 50_000, "{restarted}: {:?}", world.statistics(1));
        world.received.iter_mut().for_each(Vec::clear);
    }
}

#[test]
fn an_answer_is_no_longer_than_what_asked_for_it() {
    let mut world = World::new(udp(KEY), Faults::default(), 12);
    world.exchange(1);
    let length = |wanted: u8| {
        let found = world.heard.iter().find(|(_, packet)| packet[42] == wanted);
        found.map(|(_, packet)| packet.len()).expect("it was sent")
    };
    let (asking, challenge, first, second) = (length(5), length(6), length(7), length(2));
    assert!(challenge <= asking && second <= first, "{challenge} {asking} {second} {first}");
}

#[test]
fn a_handshake_of_the_version_before_is_counted_as_one() {
    let mut world = World::new(link(KEY), Faults::default(), 13);
    let mut old = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5, 0, 60, 1, 0, 0, 0];
    old.resize(old.len() + 56, 7);
    world.sides[1].receive(&old, Nanos(0));
    let counted = world.statistics(1);
    assert_eq!((counted.other_version, counted.refused, counted.agreements), (1, 1, 0));
}
