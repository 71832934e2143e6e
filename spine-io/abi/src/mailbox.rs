//! The mailbox: how a finished frame goes from the adapter to the application without waiting.
//!
//! One word holds the index of a slot, and whether its frame is new. The adapter swaps in the slot it has
//! filled and takes out the one that was there; the application swaps in the slot it has shown and takes
//! out the newest frame. So every slot is at all times with exactly one of the two or in the mailbox, and
//! neither side writes or reads a slot that the other has. An untaken frame comes back to the adapter and
//! is overwritten: shown and overwritten together are all that were published.
//!
//! Invariant, and what the model in `spine-io` checks over all interleavings: [`Writer::back`],
//! [`Writer::aside`] and [`Reader::front`] never name the same slot, and what was written to a slot
//! before it was published is seen by whoever takes it (the swaps release and acquire).
//!
//! The other side is in another process, perhaps, and may write nonsense into the word: then slots may be
//! confused, but no index is ever out of range.

use core::sync::atomic::{AtomicU32, Ordering};

use crate::frame_buffer::{
    FIRST_BACK, FIRST_FRONT, FIRST_SPARE, FRESH, mailbox_fresh, mailbox_slot,
};

/// The word in shared memory; another kind of atomic in the model.
pub trait Word {
    /// Its value, for a look that decides nothing but whether to swap.
    fn peek(&self) -> u32;
    /// Puts a value in and takes the old one out, with acquire and release.
    fn swap(&self, value: u32) -> u32;
}

impl Word for AtomicU32 {
    #[inline]
    fn peek(&self) -> u32 {
        self.load(Ordering::Relaxed)
    }

    #[inline]
    fn swap(&self, value: u32) -> u32 {
        Self::swap(self, value, Ordering::AcqRel)
    }
}

/// What the word holds before anything is published.
pub const EMPTY: u32 = crate::frame_buffer::FIRST_MAILBOX;

/// The adapter's side.
#[derive(Debug)]
pub struct Writer {
    slots: usize,
    back: usize,
    aside: usize,
}

impl Writer {
    /// The side that fills slots, of a buffer with `slots` of them.
    pub const fn new(slots: usize) -> Self {
        Self { slots, back: FIRST_BACK as usize, aside: FIRST_SPARE as usize }
    }

    /// The slot being filled.
    #[inline]
    pub const fn back(&self) -> usize {
        self.back
    }

    /// The fourth slot: set aside for a frame under repair. Of no meaning where there are three.
    #[inline]
    pub const fn aside(&self) -> usize {
        self.aside
    }

    /// Sets the slot being filled aside and goes on with the other one.
    pub const fn set_aside(&mut self) {
        core::mem::swap(&mut self.back, &mut self.aside);
    }

    /// Publishes the slot that was filled and goes on with the one that comes back; says whether that one
    /// held a frame nobody had taken.
    #[inline]
    pub fn publish(&mut self, word: &impl Word) -> bool {
        let (slot, overwritten) = exchange(word, self.back, self.slots);
        self.back = slot;
        overwritten
    }

    /// Publishes the slot that was set aside; the one that comes back lies aside then.
    pub fn publish_aside(&mut self, word: &impl Word) -> bool {
        let (slot, overwritten) = exchange(word, self.aside, self.slots);
        self.aside = slot;
        overwritten
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a slot's index is below four")]
fn exchange(word: &impl Word, slot: usize, slots: usize) -> (usize, bool) {
    let old = word.swap(slot as u32 | FRESH);
    (mailbox_slot(old).min(slots - 1), mailbox_fresh(old))
}

/// The application's side.
#[derive(Debug)]
pub struct Reader {
    slots: usize,
    front: usize,
}

impl Reader {
    /// The side that shows slots, of a buffer with `slots` of them.
    pub const fn new(slots: usize) -> Self {
        Self { slots, front: FIRST_FRONT as usize }
    }

    /// The slot that is the application's: the frame taken last.
    #[inline]
    pub const fn front(&self) -> usize {
        self.front
    }

    /// Takes the newest frame, if one was published since; the slot before it is the adapter's again.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a slot's index is below four")]
    pub fn take(&mut self, word: &impl Word) -> bool {
        if !mailbox_fresh(word.peek()) {
            return false;
        }
        let old = word.swap(self.front as u32);
        self.front = mailbox_slot(old).min(self.slots - 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_frame_is_taken_and_untaken_ones_are_counted() {
        let word = AtomicU32::new(EMPTY);
        let (mut writer, mut reader) = (Writer::new(3), Reader::new(3));
        assert!(!reader.take(&word), "nothing was published");
        let first = writer.back();
        assert!(!writer.publish(&word));
        let second = writer.back();
        assert_ne!(first, second);
        assert!(writer.publish(&word), "the first was not taken");
        assert!(reader.take(&word));
        assert_eq!(reader.front(), second);
        assert!(!reader.take(&word), "once");
        assert!(!writer.publish(&word), "the second was taken");
    }

    #[test]
    fn no_slot_is_at_two_places_whatever_the_order() {
        // Every sequence of eight steps: publish, take, set aside, publish what is aside.
        for sequence in 0..4_u32.pow(8) {
            let word = AtomicU32::new(EMPTY);
            let (mut writer, mut reader) = (Writer::new(4), Reader::new(4));
            for step in 0..8 {
                let _moved = match sequence >> (2 * step) & 3 {
                    0 => writer.publish(&word),
                    1 => reader.take(&word),
                    2 => {
                        writer.set_aside();
                        false
                    }
                    _ => writer.publish_aside(&word),
                };
                let mut places = [
                    writer.back(),
                    writer.aside(),
                    reader.front(),
                    mailbox_slot(word.load(Ordering::Relaxed)),
                ];
                places.sort_unstable();
                assert_eq!(places, [0, 1, 2, 3], "{sequence:o} step {step}");
            }
        }
    }

    #[test]
    fn nonsense_in_the_word_names_no_slot_that_is_not_there() {
        for slots in [3, 4] {
            let word = AtomicU32::new(u32::MAX);
            let (mut writer, mut reader) = (Writer::new(slots), Reader::new(slots));
            writer.publish(&word);
            assert!(writer.back() < slots);
            word.store(u32::MAX, Ordering::Relaxed);
            reader.take(&word);
            assert!(reader.front() < slots);
        }
    }
}
