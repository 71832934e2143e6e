//! The protocol of one ring, over any memory: indices, sleeping and waking.
//!
//! Written against a small [trait](Memory) of words and slots, so that the very code that runs over shared
//! memory is also run by a model checker (`tests/model.rs`) and by a fuzzer whose other end lies.
//!
//! Invariants: what decides where we read and write is in [`Producer`] and [`Consumer`] themselves. The
//! other end's counts are let in through [`advance`] only, so `produced - consumed` is at most the
//! capacity always.

use std::sync::Arc;

use spine_abi::fifo::{ASLEEP, AWAKE, GONE, Side, Word, advance};
use spine_abi::limits::MESSAGE_BYTES;

/// The bytes of one message, not looked at yet.
pub type Raw = [u8; MESSAGE_BYTES];

/// Memory with the layout of `spine_abi::fifo`, which another end may change at any time.
pub trait Memory {
    /// Slots of each ring: a power of two, always the same.
    fn capacity(&self) -> u32;
    /// Loads a word, with acquire ordering.
    fn load(&self, word: Word) -> u32;
    /// Stores a word, with release ordering.
    fn store(&self, word: Word, value: u32);
    /// A sequentially consistent fence.
    fn fence(&self);
    /// Copies a message out of a slot of the ring that `producer` writes.
    fn read(&self, producer: Side, index: u32) -> Raw;
    /// Copies a message into a slot.
    fn write(&self, producer: Side, index: u32, message: &Raw);
}

impl<M: Memory> Memory for Arc<M> {
    #[inline]
    fn capacity(&self) -> u32 {
        (**self).capacity()
    }

    #[inline]
    fn load(&self, word: Word) -> u32 {
        (**self).load(word)
    }

    #[inline]
    fn store(&self, word: Word, value: u32) {
        (**self).store(word, value);
    }

    #[inline]
    fn fence(&self) {
        (**self).fence();
    }

    #[inline]
    fn read(&self, producer: Side, index: u32) -> Raw {
        (**self).read(producer, index)
    }

    #[inline]
    fn write(&self, producer: Side, index: u32, message: &Raw) {
        (**self).write(producer, index, message);
    }
}

/// The other end wrote a count that no honest end writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadCount;

/// The end of a ring that messages are put in by.
#[derive(Debug)]
pub struct Producer<M> {
    memory: M,
    side: Side,
    produced: u32,
    /// What the other end has consumed, as far as we know and believe.
    consumed: u32,
}

impl<M: Memory> Producer<M> {
    /// The producer on this side. Both ends of a new ring start at the same count; those of a FIFO at zero.
    pub const fn new(memory: M, side: Side, start: u32) -> Self {
        Self { memory, side, produced: start, consumed: start }
    }

    /// Messages that the other end has not taken, as of now.
    ///
    /// # Errors
    /// [`BadCount`].
    #[inline]
    pub fn waiting(&mut self) -> Result<u32, BadCount> {
        let claimed = self.memory.load(Word::Consumed(self.side.other()));
        let known = self.produced.wrapping_sub(self.consumed);
        let moved = advance(self.consumed, claimed, known).ok_or(BadCount)?;
        self.consumed = self.consumed.wrapping_add(moved);
        Ok(known - moved)
    }

    /// Puts a message in; false when there is no room.
    ///
    /// # Errors
    /// [`BadCount`]; the message was not put in.
    #[inline]
    pub fn push(&mut self, message: &Raw) -> Result<bool, BadCount> {
        let capacity = self.memory.capacity();
        // The other's line is looked at only when the ring looks full without.
        if self.produced.wrapping_sub(self.consumed) == capacity && self.waiting()? == capacity {
            return Ok(false);
        }
        self.memory.write(self.side, self.produced, message);
        self.produced = self.produced.wrapping_add(1);
        self.memory.store(Word::Produced(self.side), self.produced);
        Ok(true)
    }

    /// After putting messages in: whether the other end sleeps and must be rung for. It is asked once: the
    /// next call says no until it sleeps again.
    #[inline]
    pub fn must_ring(&mut self) -> bool {
        let state = Word::State(self.side.other());
        // Orders the count before the look at the state; pairs with the fence in `doze`.
        self.memory.fence();
        let asleep = self.memory.load(state) == ASLEEP;
        if asleep {
            self.memory.store(state, AWAKE);
        }
        asleep
    }
}

/// The end of a ring that messages are taken out by.
#[derive(Debug)]
pub struct Consumer<M> {
    memory: M,
    side: Side,
    consumed: u32,
    /// What the other end has produced, as far as we know and believe.
    produced: u32,
}

impl<M: Memory> Consumer<M> {
    /// The consumer on this side, which starts where the ring's producer does.
    pub const fn new(memory: M, side: Side, start: u32) -> Self {
        Self { memory, side, consumed: start, produced: start }
    }

    /// Messages that can be taken, as of now.
    ///
    /// # Errors
    /// [`BadCount`].
    #[inline]
    pub fn ready(&mut self) -> Result<u32, BadCount> {
        let claimed = self.memory.load(Word::Produced(self.side.other()));
        let known = self.produced.wrapping_sub(self.consumed);
        let room = self.memory.capacity() - known;
        let moved = advance(self.produced, claimed, room).ok_or(BadCount)?;
        self.produced = self.produced.wrapping_add(moved);
        Ok(known + moved)
    }

    /// Takes a message out; `None` when there is none. Its bytes are a copy, and nobody's word.
    ///
    /// # Errors
    /// [`BadCount`].
    #[inline]
    pub fn pop(&mut self) -> Result<Option<Raw>, BadCount> {
        // The other's line is looked at only when the ring looks empty without.
        if self.produced == self.consumed && self.ready()? == 0 {
            return Ok(None);
        }
        let message = self.memory.read(self.side.other(), self.consumed);
        self.consumed = self.consumed.wrapping_add(1);
        self.memory.store(Word::Consumed(self.side), self.consumed);
        Ok(Some(message))
    }

    /// Says that this end is about to sleep. It must look for messages once more after this, and only then
    /// sleep, until the doorbell rings.
    #[inline]
    pub fn doze(&mut self) {
        self.memory.store(Word::State(self.side), ASLEEP);
        // Orders the state before the look at the count; pairs with the fence in `must_ring`.
        self.memory.fence();
    }

    /// Says that this end is awake.
    #[inline]
    pub fn wake(&mut self) {
        self.memory.store(Word::State(self.side), AWAKE);
    }
}

/// Says that this side will not be back.
pub fn leave<M: Memory>(memory: &M, side: Side) {
    memory.store(Word::State(side), GONE);
}

/// Whether the side across has left.
#[inline]
pub fn has_left<M: Memory>(memory: &M, side: Side) -> bool {
    memory.load(Word::State(side.other())) == GONE
}
