//! Two ends of one FIFO in shared memory: messages, sleep, system calls, and hang-ups.

use std::time::{Duration, Instant};

use crate::common::{message, number};
use spine_ring::{Closed, End, OpenError, Polled, SendError, Side, create};

const LONG: Duration = Duration::from_secs(10);

/// Both ends of a new FIFO.
fn ends(capacity: u32) -> (End, End) {
    let (host, fds) = create(Side::Host, capacity).expect("a FIFO");
    (host, End::open(Side::Adapter, fds).expect("the other end"))
}

#[test]
fn messages_go_both_ways_until_the_ring_is_full() {
    let (mut host, mut adapter) = ends(4);
    for n in 0..4 {
        host.sender.send(&message(n)).unwrap();
        adapter.sender.send(&message(100 + n)).unwrap();
    }
    assert_eq!(host.sender.send(&message(4)), Err(SendError::Full));
    assert_eq!((host.sender.waiting(), host.sender.capacity()), (Ok(4), 4));
    for n in 0..4 {
        assert_eq!(adapter.receiver.try_receive().as_ref().map(number), Some(n));
        assert_eq!(host.receiver.try_receive().as_ref().map(number), Some(100 + n));
    }
    assert_eq!(adapter.receiver.poll(), Polled::Empty);
    assert_eq!(host.sender.waiting(), Ok(0));
}

#[test]
fn while_both_are_awake_no_system_call_is_made() {
    const ROUNDS: u64 = 100_000;
    let (mut host, mut adapter) = ends(64);
    let echo = std::thread::spawn(move || {
        let mut echoed = 0;
        while echoed < ROUNDS {
            match adapter.receiver.poll() {
                Polled::Message(message) => {
                    adapter.sender.send(&message).unwrap();
                    echoed += 1;
                }
                // Two threads may share a core here; yielding is the test's own call.
                _ => std::thread::yield_now(),
            }
        }
        adapter
    });
    let (mut sent, mut received) = (0, 0);
    while received < ROUNDS {
        while sent < ROUNDS && sent - received < 32 {
            host.sender.send(&message(sent)).unwrap();
            sent += 1;
        }
        match host.receiver.try_receive() {
            Some(message) => {
                assert_eq!(number(&message), received);
                received += 1;
            }
            None => std::thread::yield_now(),
        }
    }
    for end in [host, echo.join().unwrap()] {
        let counts = end.counts();
        assert_eq!((counts.sent, counts.received), (ROUNDS, ROUNDS));
        assert_eq!((counts.rings, counts.heard, counts.sleeps), (0, 0, 0), "system calls");
    }
}

#[test]
fn a_sleeper_is_woken_by_each_message_and_nobody_rings_twice() {
    const MESSAGES: u64 = 2_000;
    let (mut host, mut adapter) = ends(1);
    let answering = std::thread::spawn(move || {
        for n in 0..MESSAGES {
            let received = adapter.receiver.receive(LONG).unwrap().expect("in time");
            assert_eq!(number(&received), n);
            // Sometimes late enough for the other to sleep.
            if n % 16 == 0 {
                std::thread::sleep(Duration::from_micros(200));
            }
            adapter.sender.send(&received).unwrap();
        }
        adapter
    });
    for n in 0..MESSAGES {
        host.sender.send(&message(n)).unwrap();
        let answer = host.receiver.receive(LONG).unwrap().expect("in time");
        assert_eq!(number(&answer), n);
    }
    let (host, adapter) = (host, answering.join().unwrap());
    for (one, other) in [(&host, &adapter), (&adapter, &host)] {
        let (rung, slept) = (one.counts().rings, other.counts().sleeps);
        // A ring for a sleeper that was about to look once more is heard by its next sleep.
        assert!(rung <= 2 * slept + 1 && rung <= MESSAGES, "{rung} rings for {slept} sleeps");
    }
    assert!(host.counts().sleeps >= MESSAGES / 16, "{:?}", host.counts());
}

#[test]
fn a_wait_in_vain_ends_in_time() {
    let (mut host, _adapter) = ends(4);
    for wait in [Duration::ZERO, Duration::from_millis(30)] {
        let start = Instant::now();
        assert_eq!(host.receiver.receive(wait), Ok(None));
        assert!(start.elapsed() >= wait && start.elapsed() < LONG);
    }
}

#[test]
fn what_was_sent_before_the_end_left_is_received_then_it_is_closed() {
    let (mut host, mut adapter) = ends(4);
    adapter.sender.send(&message(1)).unwrap();
    adapter.sender.send(&message(2)).unwrap();
    drop(adapter);
    for n in [1, 2] {
        assert_eq!(host.receiver.receive(LONG).unwrap().as_ref().map(number), Some(n));
    }
    assert_eq!(host.receiver.receive(LONG), Err(Closed::Left));
    assert_eq!(host.sender.send(&message(3)), Err(SendError::Closed(Closed::Left)));
}

#[test]
fn who_sleeps_is_woken_when_the_other_end_leaves() {
    let (mut host, adapter) = ends(4);
    let leaving = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        drop(adapter);
    });
    assert_eq!(host.receiver.receive(LONG), Err(Closed::Left));
    leaving.join().unwrap();
}

#[test]
fn a_full_ring_with_nobody_behind_it_says_so() {
    let (mut host, adapter) = ends(1);
    drop(adapter);
    let second = (host.sender.send(&message(0)), host.sender.send(&message(1)));
    assert_eq!(second, (Ok(()), Err(SendError::Closed(Closed::Left))));
}

#[test]
fn an_end_cannot_be_opened_twice_nor_without_its_doorbell() {
    let (mut host, fds) = create(Side::Host, 4).unwrap();
    let memory = fds.memory.try_clone().unwrap();
    let wrong = spine_ring::Fds { memory, bell: tempfile::tempfile().unwrap().into() };
    assert!(matches!(End::open(Side::Adapter, wrong), Err(OpenError::Bell)));
    let (memory, bell) = (fds.memory.try_clone().unwrap(), fds.bell.try_clone().unwrap());
    let mut adapter = End::open(Side::Adapter, fds).unwrap();
    adapter.sender.send(&message(1)).unwrap();
    let again = End::open(Side::Adapter, spine_ring::Fds { memory, bell });
    assert!(matches!(again, Err(OpenError::Used)));
    assert_eq!(host.receiver.try_receive().as_ref().map(number), Some(1), "and nothing is harmed");
}
