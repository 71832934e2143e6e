//! The protocol in every order its memory accesses can take: `loom` runs the code that runs over shared memory.
//!
//! Slots are relaxed atomics here, as they are there: a slot read too early or written too early shows as a
//! wrong value. A lost wake-up shows as a deadlock.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc as StdArc;

use loom::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use loom::sync::atomic::{AtomicU32, fence};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use spine_abi::fifo::{Side, Word};
use spine_abi::limits::MESSAGE_BYTES;
use spine_ring::protocol::{Consumer, Memory, Producer, Raw};

/// The ring from host to adapter, with two pieces a slot.
struct Model {
    capacity: u32,
    produced: AtomicU32,
    consumed: AtomicU32,
    state: AtomicU32,
    slots: Vec<[AtomicU32; 2]>,
}

impl Model {
    fn new(capacity: u32, start: u32) -> StdArc<Self> {
        let word = || AtomicU32::new(start);
        StdArc::new(Self {
            capacity,
            produced: word(),
            consumed: word(),
            state: AtomicU32::new(0),
            slots: (0..capacity).map(|_| [AtomicU32::new(0), AtomicU32::new(0)]).collect(),
        })
    }

    fn word(&self, word: Word) -> &AtomicU32 {
        match word {
            Word::Produced(Side::Host) => &self.produced,
            Word::Consumed(Side::Adapter) => &self.consumed,
            Word::State(Side::Adapter) => &self.state,
            other => panic!("{other:?} is not of this ring"),
        }
    }

    fn slot(&self, index: u32) -> &[AtomicU32; 2] {
        &self.slots[(index % self.capacity) as usize]
    }
}

impl Memory for Model {
    fn capacity(&self) -> u32 {
        self.capacity
    }

    fn load(&self, word: Word) -> u32 {
        self.word(word).load(Acquire)
    }

    fn store(&self, word: Word, value: u32) {
        self.word(word).store(value, Release);
    }

    fn fence(&self) {
        fence(SeqCst);
    }

    fn read(&self, _: Side, index: u32) -> Raw {
        let mut message = [0; MESSAGE_BYTES];
        let pieces = self.slot(index).iter().map(|piece| piece.load(Relaxed));
        for (byte, piece) in message.iter_mut().zip(pieces) {
            *byte = u8::try_from(piece).expect("a byte was put in");
        }
        message
    }

    fn write(&self, _: Side, index: u32, message: &Raw) {
        for (piece, byte) in self.slot(index).iter().zip(message) {
            piece.store((*byte).into(), Relaxed);
        }
    }
}

fn message(number: u8) -> Raw {
    let mut message = [0; MESSAGE_BYTES];
    message[..2].fill(number);
    message
}

fn ends(model: &StdArc<Model>, start: u32) -> (Producer<StdArc<Model>>, Consumer<StdArc<Model>>) {
    let producer = Producer::new(StdArc::clone(model), Side::Host, start);
    (producer, Consumer::new(StdArc::clone(model), Side::Adapter, start))
}

#[test]
fn messages_arrive_whole_and_in_order_through_a_ring_that_is_reused() {
    loom::model(|| {
        const MESSAGES: u8 = 3;
        // One slot, and an index that wraps on the way.
        let (mut producer, mut consumer) = ends(&Model::new(1, u32::MAX), u32::MAX);
        let sending = thread::spawn(move || {
            for number in 1..=MESSAGES {
                while !producer.push(&message(number)).expect("honest counts") {
                    thread::yield_now();
                }
            }
        });
        for number in 1..=MESSAGES {
            let received = loop {
                match consumer.pop().expect("honest counts") {
                    Some(received) => break received,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(received, message(number));
        }
        sending.join().unwrap();
    });
}

/// Rung or not, and who waits for it: what the socket is outside.
type Bell = Arc<(Mutex<bool>, Condvar)>;

fn ring(bell: &Bell) {
    *bell.0.lock().unwrap() = true;
    bell.1.notify_one();
}

fn sleep(bell: &Bell) {
    let mut rung = bell.0.lock().unwrap();
    while !*rung {
        rung = bell.1.wait(rung).unwrap();
    }
    *rung = false;
}

#[test]
fn nobody_sleeps_beside_a_message() {
    loom::model(|| {
        const MESSAGES: u8 = 2;
        let (mut producer, mut consumer) = ends(&Model::new(2, 0), 0);
        let bell: Bell = Arc::new((Mutex::new(false), Condvar::new()));
        let theirs = Arc::clone(&bell);
        let sending = thread::spawn(move || {
            let mut rings = 0;
            for number in 1..=MESSAGES {
                assert_eq!(producer.push(&message(number)), Ok(true));
                if producer.must_ring() {
                    rings += 1;
                    ring(&theirs);
                }
            }
            rings
        });
        let (mut received, mut dozes) = (0, 0);
        while received < MESSAGES {
            let mut taken = consumer.pop().expect("honest counts");
            if taken.is_none() {
                dozes += 1;
                consumer.doze();
                taken = consumer.pop().expect("honest counts");
                if taken.is_none() {
                    sleep(&bell);
                }
                consumer.wake();
            }
            if let Some(taken) = taken {
                received += 1;
                assert_eq!(taken, message(received));
            }
        }
        assert!(sending.join().unwrap() <= dozes, "rung without need");
    });
}
