//! The other end lies. It has the memory file and the doorbell, and writes what it likes when it likes: an honest end
//! stays in bounds, does not panic, does not hang, and closes when the lie cannot be overlooked.
//!
//! The liar writes through the file (pwrite), which needs no unsafe code and is as sudden.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::{message, number};
use spine_abi::fifo::{ASLEEP, Word, memory_bytes, slot};
use spine_ring::bell::Bell;
use spine_ring::{Closed, End, Polled, SendError, Side, create};

/// Random numbers that repeat: a linear congruential generator, of which the high half is used.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 32).expect("32 bits")
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next()).expect("32 bits") % limit
    }
}

/// An honest end, and what a liar has of the other.
fn fifo(capacity: u32) -> (End, File, Bell) {
    let (end, fds) = create(Side::Adapter, capacity).unwrap();
    (end, File::from(fds.memory), Bell::open_checked(fds.bell).unwrap())
}

fn write(file: &File, word: Word, value: u32) {
    file.write_all_at(&value.to_le_bytes(), word.offset() as u64).unwrap();
}

fn read(file: &File, word: Word) -> u32 {
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, word.offset() as u64).unwrap();
    u32::from_le_bytes(bytes)
}

/// Uses an end until it is told to stop; every call must come back. Counts its rounds.
fn use_it(mut end: End, stop: &AtomicBool, rounds: &AtomicU64) -> End {
    while !stop.load(Ordering::Relaxed) {
        let round = rounds.fetch_add(1, Ordering::Relaxed);
        let _ = end.sender.send(&message(round));
        let _ = end.sender.waiting();
        let _ = end.receiver.poll();
        let _ = end.receiver.try_receive();
        end.receiver.doze();
        let _ = end.receiver.is_ready();
        end.receiver.wake(round.is_multiple_of(3));
        if round.is_multiple_of(64) {
            let start = Instant::now();
            let _ = end.receiver.receive(Duration::from_micros(50));
            assert!(start.elapsed() < Duration::from_secs(5), "waits no longer than told");
        }
    }
    end
}

/// Has a liar at work while an honest end is used: at least so many lies, and as many rounds.
fn against(end: End, least: u64, mut lie: impl FnMut()) -> End {
    let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let user = scope.spawn(|| use_it(end, &stop, &done));
        let start = Instant::now();
        let mut lies = 0;
        while lies.min(done.load(Ordering::Relaxed)) < least && !user.is_finished() {
            lie();
            lies += 1;
            assert!(start.elapsed() < Duration::from_secs(60), "the honest end hangs");
        }
        stop.store(true, Ordering::Relaxed);
        user.join().expect("no panic")
    })
}

#[test]
fn random_words_all_over_the_memory_at_any_time_do_no_harm() {
    for seed in 1..=24 {
        let capacity = 1 << (seed % 5);
        let (end, file, bell) = fifo(capacity);
        let mut random = Random(seed);
        let words = memory_bytes(capacity).unwrap() / 4;
        let mut end = against(end, 2_000, || {
            // Near the truth more often than not.
            let value = if random.below(4) == 0 { random.next() } else { random.next() % 8 };
            let place = match random.below(4) {
                0 => random.below(words) * 4,
                1 => Word::Produced(Side::Host).offset(),
                2 => Word::Consumed(Side::Host).offset(),
                _ => Word::State(Side::Adapter).offset(),
            };
            file.write_all_at(&value.to_le_bytes(), place as u64).unwrap();
            if random.below(8) == 0 {
                let _ = bell.ring();
            }
        });
        // By now it is closed, unless the honest end looked at the wrong moments only.
        write(&file, Word::Produced(Side::Host), 1 << 31);
        while end.receiver.poll() != Polled::Empty {}
        assert!(end.sender.state().is_err(), "seed {seed}: such an end is closed");
    }
}

#[test]
fn a_liar_that_keeps_to_the_counts_spoils_nothing_but_the_messages() {
    for seed in 1..=8 {
        let capacity = 1 << (seed % 4);
        let (end, file, _bell) = fifo(capacity);
        let mut random = Random(seed);
        let mut produced = 0_u32;
        let end = against(end, 2_000, || {
            write(&file, Word::Consumed(Side::Host), read(&file, Word::Produced(Side::Adapter)));
            if produced.wrapping_sub(read(&file, Word::Consumed(Side::Adapter))) < capacity {
                produced = produced.wrapping_add(1);
                write(&file, Word::Produced(Side::Host), produced);
            }
            let state = if random.below(2) == 0 { Side::Host } else { Side::Adapter };
            write(&file, Word::State(state), random.next() % 2);
            let slots = slot(Side::Host, random.next(), capacity) + random.below(64) * 4;
            let value = random.next().to_le_bytes();
            file.write_all_at(&value, slots as u64).unwrap();
        });
        let counts = end.counts();
        assert_eq!(end.receiver.state(), Ok(()), "seed {seed}");
        assert!(counts.sent > 0 && counts.received + counts.malformed > 0, "{counts:?}");
    }
}

#[test]
fn a_false_count_closes_both_halves() {
    for (word, value) in [
        (Word::Produced(Side::Host), 5),
        (Word::Produced(Side::Host), u32::MAX),
        (Word::Consumed(Side::Host), 1),
        (Word::Consumed(Side::Host), u32::MAX),
    ] {
        let (mut end, file, _bell) = fifo(4);
        write(&file, word, value);
        assert!(matches!(end.receiver.poll(), Polled::Empty | Polled::Malformed));
        let _ = end.sender.waiting();
        assert_eq!(end.sender.send(&message(1)), Err(SendError::Closed(Closed::Count)));
        assert_eq!(end.receiver.receive(Duration::from_secs(5)), Err(Closed::Count));
    }
}

#[test]
fn messages_that_are_none_are_counted_and_passed_over() {
    let (mut end, file, _bell) = fifo(8);
    for index in 0..8_u32 {
        let good = message(u64::from(index));
        let bytes = if index % 2 == 0 { [0xff; 256] } else { *good.as_bytes() };
        file.write_all_at(&bytes, slot(Side::Host, index, 8) as u64).unwrap();
    }
    write(&file, Word::Produced(Side::Host), 8);
    for index in [1, 3, 5, 7] {
        assert_eq!(end.receiver.try_receive().as_ref().map(number), Some(index));
    }
    assert_eq!(end.receiver.try_receive(), None);
    assert_eq!((end.counts().received, end.counts().malformed), (4, 4));
    assert_eq!(end.receiver.state(), Ok(()));
}

#[test]
fn ringing_without_sending_is_put_up_with_for_a_while_only() {
    let (mut end, _file, bell) = fifo(4);
    let mut woken = 0;
    let start = Instant::now();
    while end.receiver.state().is_ok() {
        bell.ring().unwrap();
        let _ = end.receiver.receive(Duration::from_millis(20));
        woken += 1;
        assert!(woken < 1000 && start.elapsed() < Duration::from_secs(20));
    }
    assert_eq!(end.receiver.receive(Duration::from_secs(5)), Err(Closed::Rings));
}

#[test]
fn an_end_that_always_says_it_sleeps_costs_a_ring_a_message_and_never_a_wait() {
    let (mut end, file, _bell) = fifo(1024);
    for n in 0..1024 {
        write(&file, Word::State(Side::Host), ASLEEP);
        end.sender.send(&message(n)).unwrap();
    }
    assert_eq!(end.counts().rings, 1024);
}
