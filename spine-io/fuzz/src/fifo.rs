//! One honest end of a FIFO in shared memory, and another that does what the bytes say.
//!
//! The bytes are a script of steps. The other end has the memory file and the doorbell, as it would in a process of
//! its own, and writes any value to any word.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use spine_abi::fifo::{Word, memory_bytes, slot};
use spine_abi::{Endpoint, HandlerNumber, Message};
use spine_ring::bell::Bell;
use spine_ring::{End, Fds, Polled, Side, create};

/// Steps of one script at most.
const STEPS: usize = 400;
/// No step may take longer: none has anything to wait for.
const PROMPT: Duration = Duration::from_secs(10);

struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A value that is small, huge or anything, as its first byte says.
    fn value(&mut self) -> Option<u32> {
        Some(match self.byte()? {
            small @ 0..=127 => u32::from(small),
            below @ 128..=191 => 0_u32.wrapping_sub(u32::from(below - 127)),
            _ => u32::from_le_bytes([self.byte()?, self.byte()?, self.byte()?, self.byte()?]),
        })
    }
}

/// Runs a script: the first byte says which end is honest and how large the rings are.
pub fn run(data: &[u8]) {
    let mut script = Script(data);
    let Some(first) = script.byte() else { return };
    let side = if first & 1 == 0 { Side::Adapter } else { Side::Host };
    let capacity = 1 << (first >> 1 & 3);
    if first >= 0xf0 {
        return open_any(script.0, side);
    }
    let (end, fds) = create(side, capacity).expect("a FIFO");
    let mut end = end;
    let (file, bell) = (File::from(fds.memory), Bell::open_checked(fds.bell).expect("a bell"));
    let mut bell = Some(bell);
    for _ in 0..STEPS {
        let start = Instant::now();
        if step(&mut script, side, capacity, &mut end, &file, &mut bell).is_none() {
            break;
        }
        assert!(start.elapsed() < PROMPT, "a step hangs");
    }
    let counts = end.counts();
    assert!(counts.rings <= counts.sent.max(1) + STEPS as u64);
}

fn step(
    script: &mut Script<'_>,
    side: Side,
    capacity: u32,
    end: &mut End,
    file: &File,
    bell: &mut Option<Bell>,
) -> Option<()> {
    let write =
        |offset: usize, bytes: &[u8]| file.write_all_at(bytes, offset as u64).expect("room");
    match script.byte()? % 16 {
        0 => {
            let message = Message::small(HandlerNumber(1), Endpoint::Host, &[script.byte()?]);
            let _ = end.sender.send(&message);
        }
        1 => {
            if let Polled::Message(message) = end.receiver.poll() {
                assert_eq!(Message::parse(message.as_bytes()).as_ref(), Ok(&message));
            }
        }
        2 => _ = end.receiver.try_receive(),
        3 => {
            if let Ok(waiting) = end.sender.waiting() {
                assert!(waiting <= capacity);
            }
        }
        4 => end.receiver.doze(),
        5 => end.receiver.wake(script.byte()? & 1 == 0),
        6 => _ = end.receiver.receive(Duration::ZERO),
        7 => _ = end.receiver.is_ready(),
        8 | 9 => write(Word::Produced(side.other()).offset(), &script.value()?.to_le_bytes()),
        10 => write(Word::Consumed(side.other()).offset(), &script.value()?.to_le_bytes()),
        11 => write(Word::State(side).offset(), &script.value()?.to_le_bytes()),
        12 => write(Word::State(side.other()).offset(), &script.value()?.to_le_bytes()),
        13 => {
            // A header, more or less.
            let index = script.byte()?.into();
            let header =
                [script.byte()?, 0, script.byte()? & 3, 0, 0, script.byte()?, script.byte()?, 0];
            write(slot(side.other(), index, capacity), &header);
        }
        14 => {
            let words = memory_bytes(capacity)? / 4;
            let place = usize::try_from(script.value()?).ok()? % words * 4;
            write(place, &script.value()?.to_le_bytes());
        }
        _ => match script.byte()? {
            0 => *bell = None,
            1 => bell.as_ref()?.hang_up(),
            _ => drop(bell.as_ref()?.ring()),
        },
    }
    Some(())
}

/// Opens an end over a file that begins with these bytes: refused, unless they describe a FIFO.
fn open_any(bytes: &[u8], side: Side) {
    let (_end, fds) = create(side, 1).expect("a FIFO");
    let file = File::from(fds.memory);
    let shown = &bytes[..bytes.len().min(memory_bytes(1).expect("a capacity"))];
    file.write_all_at(shown, 0).expect("room");
    let memory = file.into();
    if let Ok(mut end) = End::open(side.other(), Fds { memory, bell: fds.bell }) {
        _ = end.receiver.poll();
    }
}

/// An honest conversation, a lie of each kind, and a description.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut description = vec![0xf0];
    description.extend(spine_abi::fifo::describe(1));
    vec![
        vec![4, 0, 1, 0, 2, 3, 13, 0, 1, 0, 2, 8, 8, 1, 1, 2, 10, 2, 3, 4, 7, 6, 5, 0],
        vec![1, 8, 200, 1, 0, 0, 0, 1, 2, 3],
        vec![6, 10, 130, 0, 9, 3, 14, 33, 7, 11, 1, 15, 2, 5, 0],
        vec![2, 4, 15, 2, 5, 0, 4, 15, 2, 5, 0, 15, 1, 6, 0, 1],
        vec![0, 12, 1, 0, 7, 12, 1, 0, 7, 12, 2, 0, 7, 15, 0, 6],
        description,
    ]
}
