//! The protocol at its edges, over ordinary memory, and against a queue.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::common::Plain;
use proptest::prelude::*;
use spine_abi::fifo::{ASLEEP, AWAKE, Side, Word};
use spine_abi::limits::MESSAGE_BYTES;
use spine_ring::protocol::{BadCount, Consumer, Memory, Producer, Raw};

type Ends = (Arc<Plain>, Producer<Arc<Plain>>, Consumer<Arc<Plain>>);

/// A ring from host to adapter whose counts begin at `start`.
fn ring(capacity: u32, start: u32) -> Ends {
    let memory = Arc::new(Plain::new(capacity));
    memory.store(Word::Produced(Side::Host), start);
    memory.store(Word::Consumed(Side::Adapter), start);
    let producer = Producer::new(Arc::clone(&memory), Side::Host, start);
    let consumer = Consumer::new(Arc::clone(&memory), Side::Adapter, start);
    (memory, producer, consumer)
}

fn raw(number: u8) -> Raw {
    [number; MESSAGE_BYTES]
}

/// The same, of a count.
fn nth(count: u32) -> Raw {
    raw(u8::try_from(count % 256).expect("below 256"))
}

#[test]
fn an_empty_ring_has_nothing_and_a_full_one_no_room() {
    let (_, mut producer, mut consumer) = ring(4, 0);
    assert_eq!(consumer.pop(), Ok(None));
    for number in 0..4 {
        assert_eq!(producer.push(&raw(number)), Ok(true));
    }
    assert_eq!((producer.push(&raw(4)), producer.waiting()), (Ok(false), Ok(4)));
    assert_eq!(consumer.ready(), Ok(4));
    assert_eq!(consumer.pop(), Ok(Some(raw(0))), "the refused one overwrote nothing");
    assert_eq!((producer.push(&raw(5)), producer.push(&raw(6))), (Ok(true), Ok(false)));
    for number in [1, 2, 3, 5] {
        assert_eq!(consumer.pop(), Ok(Some(raw(number))));
    }
    assert_eq!((consumer.pop(), producer.waiting()), (Ok(None), Ok(0)));
}

#[test]
fn counts_wrap_with_any_number_of_slots() {
    for capacity in [1, 2, 8] {
        for before in [0, 1, capacity] {
            let (_, mut producer, mut consumer) = ring(capacity, 0_u32.wrapping_sub(before));
            for round in 0..3 {
                for slot in 0..capacity {
                    assert_eq!(producer.push(&nth(round * capacity + slot)), Ok(true));
                }
                assert_eq!(producer.push(&raw(99)), Ok(false), "{capacity} {before}");
                for slot in 0..capacity {
                    assert_eq!(consumer.pop(), Ok(Some(nth(round * capacity + slot))));
                }
                assert_eq!(consumer.pop(), Ok(None), "{capacity} {before}");
            }
        }
    }
}

#[test]
fn a_count_that_cannot_be_is_refused_and_nothing_is_read_or_written() {
    let produced = Word::Produced(Side::Host);
    let consumed = Word::Consumed(Side::Adapter);
    // More than fit; behind what was seen; far away.
    for claim in [9, 1, u32::MAX, 1 << 31] {
        let (memory, mut producer, mut consumer) = ring(4, 0);
        assert_eq!(producer.push(&raw(1)), Ok(true));
        assert_eq!(producer.push(&raw(2)), Ok(true));
        assert_eq!((consumer.ready(), consumer.pop()), (Ok(2), Ok(Some(raw(1)))));
        assert_eq!(consumer.pop(), Ok(Some(raw(2))));
        memory.store(produced, claim);
        assert_eq!((consumer.ready(), consumer.pop()), (Err(BadCount), Err(BadCount)), "{claim}");
        assert_eq!(memory.load(consumed), 2);
    }
    for claim in [5, u32::MAX, 1 << 31, 1] {
        let (memory, mut producer, mut consumer) = ring(4, 0);
        for number in 0..4 {
            assert_eq!(producer.push(&raw(number)), Ok(true));
        }
        for _ in 0..2 {
            assert!(consumer.pop().unwrap().is_some());
        }
        assert_eq!(producer.waiting(), Ok(2));
        assert_eq!((producer.push(&raw(4)), producer.push(&raw(5))), (Ok(true), Ok(true)));
        memory.store(consumed, if claim == 5 { 7 } else { claim });
        assert_eq!(producer.push(&raw(6)), Err(BadCount), "{claim}");
        assert_eq!(memory.load(produced), 6);
    }
}

#[test]
fn a_sleeper_is_rung_for_once_and_somebody_awake_never() {
    let (memory, mut producer, mut consumer) = ring(4, 0);
    assert!(!producer.must_ring());
    consumer.doze();
    assert_eq!(memory.load(Word::State(Side::Adapter)), ASLEEP);
    assert!(producer.must_ring() && !producer.must_ring());
    assert_eq!(memory.load(Word::State(Side::Adapter)), AWAKE);
    consumer.doze();
    consumer.wake();
    assert!(!producer.must_ring());
    // Whatever else stands there is no reason to ring.
    for state in [2, 3, u32::MAX] {
        memory.store(Word::State(Side::Adapter), state);
        assert!(!producer.must_ring());
    }
}

proptest! {
    #[test]
    fn a_ring_is_a_bounded_queue(
        exponent in 0_u32..5,
        start in prop_oneof![Just(0_u32), Just(u32::MAX - 3), any::<u32>()],
        steps in proptest::collection::vec((any::<bool>(), any::<u8>()), 0..400),
    ) {
        let capacity = 1 << exponent;
        let (_, mut producer, mut consumer) = ring(capacity, start);
        let mut queue = VecDeque::new();
        for (push, number) in steps {
            if push {
                let room = queue.len() < capacity as usize;
                prop_assert_eq!(producer.push(&raw(number)), Ok(room));
                if room {
                    queue.push_back(number);
                }
            } else {
                prop_assert_eq!(consumer.pop(), Ok(queue.pop_front().map(raw)));
            }
            prop_assert_eq!(producer.waiting(), Ok(u32::try_from(queue.len()).unwrap()));
            prop_assert_eq!(consumer.ready(), Ok(u32::try_from(queue.len()).unwrap()));
        }
    }
}
