//! A ring over ordinary memory, and messages to tell apart.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU32, fence};

use spine_abi::fifo::{self, Side, Word, memory_bytes};
use spine_abi::limits::MESSAGE_BYTES;
use spine_abi::{Endpoint, HandlerNumber, Message};
use spine_ring::protocol::{Memory, Raw};

/// A FIFO's memory that no other process sees.
pub(crate) struct Plain {
    capacity: u32,
    words: Vec<AtomicU32>,
    bytes: Vec<AtomicU8>,
}

impl Plain {
    pub(crate) fn new(capacity: u32) -> Self {
        let bytes = memory_bytes(capacity).expect("a capacity");
        Self {
            capacity,
            words: (0..fifo::SLOTS).map(|_| AtomicU32::new(0)).collect(),
            bytes: (0..bytes).map(|_| AtomicU8::new(0)).collect(),
        }
    }

    fn slot(&self, producer: Side, index: u32) -> &[AtomicU8] {
        &self.bytes[fifo::slot(producer, index, self.capacity)..][..MESSAGE_BYTES]
    }
}

impl Memory for Plain {
    fn capacity(&self) -> u32 {
        self.capacity
    }

    fn load(&self, word: Word) -> u32 {
        self.words[word.offset()].load(SeqCst)
    }

    fn store(&self, word: Word, value: u32) {
        self.words[word.offset()].store(value, SeqCst);
    }

    fn fence(&self) {
        fence(SeqCst);
    }

    fn read(&self, producer: Side, index: u32) -> Raw {
        let mut message = [0; MESSAGE_BYTES];
        for (byte, place) in message.iter_mut().zip(self.slot(producer, index)) {
            *byte = place.load(Relaxed);
        }
        message
    }

    fn write(&self, producer: Side, index: u32, message: &Raw) {
        for (byte, place) in message.iter().zip(self.slot(producer, index)) {
            place.store(*byte, Relaxed);
        }
    }
}

/// A message that carries a number.
pub(crate) fn message(number: u64) -> Message {
    Message::small(HandlerNumber(1), Endpoint::Host, &number.to_le_bytes())
}

/// The number a message carries.
pub(crate) fn number(message: &Message) -> u64 {
    u64::from_le_bytes(*message.arguments().first_chunk().expect("eight bytes"))
}
