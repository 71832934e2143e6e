//! The FIFO between an application and its adapter: two rings of messages in shared memory (SPINE 3.1).
//!
//! One piece of memory holds a ring each way. A ring has one producer and one consumer, and its slots are
//! whole messages. Indices count messages since the start and wrap at 2^32; a slot's place is its index
//! modulo the capacity, a power of two.
//!
//! | bytes | contents | written by |
//! |---|---|---|
//! | 0..16 | magic, version, capacity of each ring, bytes of a message (four words) | who creates it |
//! | 128 | messages the host has produced | host |
//! | 256 | messages the adapter has consumed | adapter |
//! | 384 | messages the adapter has produced | adapter |
//! | 512 | messages the host has consumed | host |
//! | 640 | state of the host: awake, asleep, gone | host, and the adapter to wake it |
//! | 768 | state of the adapter | adapter, and the host to wake it |
//! | 1024.. | the slots of the ring to the adapter, then those of the ring to the host | the ring's producer |
//!
//! All words are 32 bits, little-endian. Each has 128 bytes of its own: two cache lines, because processors
//! fetch them in pairs.
//!
//! # Who may believe what
//!
//! The other end is another process, perhaps a hostile one, and can write anything anywhere at any time.
//! So each end keeps its own indices in memory of its own and never reads them back; takes a word of the
//! other only through [`advance`]; copies a message out once and checks the copy. An end that does so stays
//! in bounds and makes progress whatever the other does; what the other can spoil is the messages.
//!
//! # The order of memory accesses
//!
//! 1. The producer writes a slot, then its index with *release*; the consumer loads that index with
//!    *acquire* before it reads the slot. So a slot is whole when its index says that it is there.
//! 2. The consumer reads a slot, then writes its index with *release*; the producer loads that index with
//!    *acquire* before it writes the slot again. So a slot is not written while it is read.
//! 3. Who wants to sleep writes [`ASLEEP`] to its state, then a *sequentially consistent fence*, then looks
//!    at the other's index once more. Who produced writes its index, then the same fence, then looks at the
//!    other's state; where it says asleep, it writes [`AWAKE`] there and rings the doorbell. Of two fences one is
//!    first, so either the sleeper sees the message or the producer sees the sleeper: nobody sleeps beside a
//!    message, and while both are awake nobody rings.

use crate::bytes::u32_at;
use crate::limits::MESSAGE_BYTES;

/// The first word of the memory.
pub const MAGIC: u32 = 0x5350_4646;
/// The version of this layout.
pub const VERSION: u32 = 1;
/// Messages in one ring, at most.
pub const CAPACITY: u32 = 1 << 14;
/// Bytes of a message, as the description says it.
const MESSAGE: u32 = 256;
/// Where the slots begin.
pub const SLOTS: usize = 1024;
/// Bytes of the memory's description, at its start.
pub const DESCRIPTION_BYTES: usize = 16;
/// The memory is whole pages of this size.
pub const PAGE: usize = 4096;

/// The state of an end that looks at its ring.
pub const AWAKE: u32 = 0;
/// The state of an end that must be woken.
pub const ASLEEP: u32 = 1;
/// The state of an end that has left for good.
pub const GONE: u32 = 2;

/// The two ends of a FIFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The application.
    Host,
    /// The adapter.
    Adapter,
}

impl Side {
    /// The end across.
    pub const fn other(self) -> Self {
        match self {
            Self::Host => Self::Adapter,
            Self::Adapter => Self::Host,
        }
    }
}

/// A word that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// How many messages this side has put into the ring to the other.
    Produced(Side),
    /// How many messages this side has taken out of the ring from the other.
    Consumed(Side),
    /// Whether this side is awake.
    State(Side),
}

impl Word {
    /// Where it is, in bytes from the start of the memory.
    #[inline]
    pub const fn offset(self) -> usize {
        match self {
            Self::Produced(Side::Host) => 128,
            Self::Consumed(Side::Adapter) => 256,
            Self::Produced(Side::Adapter) => 384,
            Self::Consumed(Side::Host) => 512,
            Self::State(Side::Host) => 640,
            Self::State(Side::Adapter) => 768,
        }
    }
}

/// Whether a ring may have so many slots.
pub const fn is_capacity(capacity: u32) -> bool {
    capacity.is_power_of_two() && capacity <= CAPACITY
}

/// Bytes of the whole memory, for rings of so many slots: what its file must have, exactly. `None` for a
/// capacity no FIFO has.
pub const fn memory_bytes(capacity: u32) -> Option<usize> {
    if !is_capacity(capacity) {
        return None;
    }
    let rings = 2 * capacity as usize * MESSAGE_BYTES;
    Some((SLOTS + rings).next_multiple_of(PAGE))
}

/// Where the slot of a message is: the `index`-th in the ring that `producer` writes. Within
/// [`memory_bytes`] for every index.
#[inline]
pub const fn slot(producer: Side, index: u32, capacity: u32) -> usize {
    let ring = match producer {
        Side::Host => 0,
        Side::Adapter => capacity as usize * MESSAGE_BYTES,
    };
    SLOTS + ring + (index & (capacity - 1)) as usize * MESSAGE_BYTES
}

/// Takes a count that the other end wrote: how far it has moved on from `seen`, or `None` if it went
/// back, or on by more than `most`, which no honest end does.
#[inline]
pub const fn advance(seen: u32, claimed: u32, most: u32) -> Option<u32> {
    let moved = claimed.wrapping_sub(seen);
    if moved <= most { Some(moved) } else { None }
}

/// The description at the start of the memory.
pub fn describe(capacity: u32) -> [u8; DESCRIPTION_BYTES] {
    let mut bytes = [0; DESCRIPTION_BYTES];
    let words = [MAGIC, VERSION, capacity, MESSAGE];
    for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// Reads the description of a memory of `bytes` bytes that somebody else made: the capacity of its rings,
/// or `None` if it is no FIFO of this version, or its size does not fit.
pub fn parse(description: &[u8], bytes: usize) -> Option<u32> {
    let word = |n: usize| u32_at(description, 4 * n);
    let capacity = word(2)?;
    let known = word(0)? == MAGIC && word(1)? == VERSION;
    (known && word(3)? == MESSAGE && memory_bytes(capacity)? == bytes).then_some(capacity)
}

const _: () = assert!(Word::State(Side::Adapter).offset() + 128 <= SLOTS);
const _: () = assert!(SLOTS.is_multiple_of(MESSAGE_BYTES) && MESSAGE as usize == MESSAGE_BYTES);
const _: () = assert!(is_capacity(1) && !is_capacity(0) && is_capacity(CAPACITY));
const _: () = assert!(CAPACITY as usize >= crate::limits::HOST_FIFO);

#[cfg(test)]
mod tests {
    use super::*;

    const SIDES: [Side; 2] = [Side::Host, Side::Adapter];

    #[test]
    fn words_have_lines_of_their_own_in_front_of_the_slots() {
        let [host, adapter] =
            SIDES.map(|side| [Word::Produced(side), Word::Consumed(side), Word::State(side)]);
        let [a, b, c] = host.map(Word::offset);
        let [d, e, f] = adapter.map(Word::offset);
        let mut offsets = [a, b, c, d, e, f];
        offsets.sort_unstable();
        assert!(offsets[0] >= DESCRIPTION_BYTES.next_multiple_of(128));
        assert!(offsets.windows(2).all(|pair| pair[1] - pair[0] >= 128));
        assert!(offsets[5] + 128 <= SLOTS);
    }

    #[test]
    fn every_slot_has_a_place_of_its_own_inside_the_memory() {
        for capacity in [1, 2, 8, 256] {
            let bytes = memory_bytes(capacity).unwrap();
            let mut ends = SLOTS;
            for side in SIDES {
                for index in 0..capacity {
                    assert_eq!(slot(side, index, capacity), ends);
                    assert_eq!(slot(side, index.wrapping_sub(capacity), capacity), ends, "wraps");
                    ends += MESSAGE_BYTES;
                }
            }
            assert!(ends <= bytes && bytes - ends < PAGE);
        }
        assert!(
            slot(Side::Adapter, u32::MAX, CAPACITY) + MESSAGE_BYTES
                <= memory_bytes(CAPACITY).unwrap()
        );
    }

    #[test]
    fn a_count_moves_on_by_no_more_than_it_can() {
        assert_eq!(advance(5, 5, 0), Some(0));
        assert_eq!(advance(5, 9, 4), Some(4));
        assert_eq!(advance(5, 10, 4), None, "too far");
        assert_eq!(advance(5, 4, 256), None, "back");
        assert_eq!(advance(u32::MAX, 1, 2), Some(2), "around the end");
        assert_eq!(advance(u32::MAX, 2, 2), None);
        assert_eq!(advance(0, u32::MAX, 256), None, "back around the end");
    }

    #[test]
    fn a_description_is_read_back_and_nothing_else_is() {
        for capacity in [1, 64, CAPACITY] {
            let bytes = memory_bytes(capacity).unwrap();
            assert_eq!(parse(&describe(capacity), bytes), Some(capacity));
            assert_eq!(parse(&describe(capacity), bytes + PAGE), None);
        }
        for capacity in [0, 3, CAPACITY * 2, u32::MAX] {
            assert_eq!(memory_bytes(capacity), None);
            assert_eq!(parse(&describe(capacity), 8192), None);
        }
        let bytes = memory_bytes(8).unwrap();
        for place in 0..DESCRIPTION_BYTES {
            let mut changed = describe(8);
            changed[place] ^= 1;
            assert_eq!(parse(&changed, bytes), None, "byte {place}");
        }
        assert_eq!(parse(&describe(8)[..15], bytes), None);
    }
}
