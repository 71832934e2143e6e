//! Sequence numbers: 16 bits of a number that never ends, and which of the last ones have come.
//!
//! At 160,000 packets a second the 16 bits wrap every 0.4 s. A packet of a frame newer than any seen is
//! ahead, whatever its number looks like; otherwise the nearer way around counts. The last
//! [`WINDOW`] numbers are remembered one by one, so that a packet that comes twice is used once.

use spine_sdk::Global;

/// How many numbers are remembered: more packets than a frame of 1080p has.
pub const WINDOW: u64 = 16384;
const WORDS: usize = (WINDOW / 64) as usize;

/// What a number says of its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Ahead of all before; so many numbers between are missing.
    Ahead(u64),
    /// It was missing.
    Reordered,
    /// It was sent before the first that came.
    Earlier,
    /// It came before.
    Duplicate,
    /// So far behind that nobody remembers.
    Forgotten,
}

/// The numbers of one sender.
#[derive(Debug)]
pub struct Sequence {
    /// The highest number so far, unwrapped; zero before the first.
    highest: Global<u64>,
    /// The first one that came.
    first: Global<u64>,
    /// One bit for each of the last numbers.
    came: [Global<u64>; WORDS],
}

impl Sequence {
    /// Before the first packet.
    pub const fn new() -> Self {
        Self {
            highest: Global::<u64>::new(0),
            first: Global::<u64>::new(0),
            came: [const { Global::<u64>::new(0) }; WORDS],
        }
    }

    /// Forgets everything: another sender.
    pub fn restart(&'static self) {
        self.highest.set(0);
    }

    /// Notes the number of a packet; `newer` says that its frame is newer than any before.
    #[inline]
    pub fn note(&'static self, number: u16, newer: bool) -> Arrival {
        let highest = self.highest.get();
        if highest == 0 {
            // One round up, so that what comes a little earlier has a place.
            let first = (1 << 16) + u64::from(number);
            self.forget(first + 1 - WINDOW, first + 1);
            self.set(first);
            self.first.set(first);
            self.highest.set(first);
            return Arrival::Ahead(0);
        }
        let ahead = number.wrapping_sub((highest & 0xffff) as u16);
        if newer || (1..0x8000).contains(&ahead) {
            // The same number of a newer frame is one round later.
            let ahead = if ahead == 0 { 1 << 16 } else { u64::from(ahead) };
            let position = highest + ahead;
            self.forget(highest + 1, position + 1);
            self.set(position);
            self.highest.set(position);
            return Arrival::Ahead(ahead - 1);
        }
        let behind = u64::from(ahead.wrapping_neg());
        if behind >= WINDOW {
            return Arrival::Forgotten;
        }
        let position = highest - behind;
        if self.has(position) {
            return Arrival::Duplicate;
        }
        self.set(position);
        if position < self.first.get() { Arrival::Earlier } else { Arrival::Reordered }
    }

    #[inline]
    fn word(&'static self, position: u64) -> (&'static Global<u64>, u64) {
        let index = (position / 64) as usize % WORDS;
        (&self.came[index], 1 << (position % 64))
    }

    #[inline]
    fn has(&'static self, position: u64) -> bool {
        let (word, bit) = self.word(position);
        word.get() & bit != 0
    }

    #[inline]
    fn set(&'static self, position: u64) {
        let (word, bit) = self.word(position);
        word.set(word.get() | bit);
    }

    /// Clears the places of these numbers, for new ones to take; a word at a time.
    #[inline]
    fn forget(&'static self, from: u64, to: u64) {
        let mut at = from.max(to.saturating_sub(WINDOW));
        while at < to {
            let (word, first) = self.word(at);
            let bits = (64 - at % 64).min(to - at);
            let mask = (u64::MAX >> (64 - bits)).wrapping_mul(first);
            word.set(word.get() & !mask);
            at += bits;
        }
    }
}

impl Default for Sequence {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spine_sdk::testing::fresh;

    static SEQUENCE: Sequence = Sequence::new();

    fn note(number: u16) -> Arrival {
        SEQUENCE.note(number, false)
    }

    #[test]
    fn numbers_wrap_and_gaps_are_filled_once() {
        fresh();
        assert_eq!(note(65533), Arrival::Ahead(0));
        assert_eq!(note(65534), Arrival::Ahead(0));
        assert_eq!(note(1), Arrival::Ahead(2), "65535 and 0 are missing");
        assert_eq!(note(0), Arrival::Reordered);
        assert_eq!(note(0), Arrival::Duplicate);
        assert_eq!(note(65535), Arrival::Reordered);
        assert_eq!(note(65534), Arrival::Duplicate);
        assert_eq!(note(1), Arrival::Duplicate);
        assert_eq!(note(2), Arrival::Ahead(0));
    }

    #[test]
    fn every_number_of_many_rounds_is_new_once() {
        fresh();
        for round in 0..3 {
            for number in 0..=u16::MAX {
                assert_eq!(note(number), Arrival::Ahead(0), "{round} {number}");
            }
        }
        for number in (49152..=u16::MAX).rev() {
            assert_eq!(note(number), Arrival::Duplicate, "{number}");
        }
        assert_eq!(note(49151), Arrival::Forgotten);
    }

    #[test]
    fn what_was_before_the_first_packet_is_not_taken_for_a_duplicate() {
        fresh();
        assert_eq!(note(5), Arrival::Ahead(0));
        for number in [4, 3, 65535, 65000] {
            assert_eq!(note(number), Arrival::Earlier, "{number}");
            assert_eq!(note(number), Arrival::Duplicate, "{number}");
        }
        SEQUENCE.restart();
        assert_eq!(note(7), Arrival::Ahead(0));
        assert_eq!(note(5), Arrival::Earlier, "another sender's");
    }

    #[test]
    fn a_newer_frame_is_ahead_however_many_packets_were_lost() {
        fresh();
        for number in 0..20_000 {
            note(number);
        }
        assert_eq!(SEQUENCE.note(10_000, true), Arrival::Ahead(65536 - 10_000));
        assert_eq!(note(10_001), Arrival::Ahead(0));
        assert_eq!(note(9_999), Arrival::Reordered);
        assert_eq!(note(9_999), Arrival::Duplicate);
    }

    #[test]
    fn a_long_gap_costs_no_more_than_the_window() {
        fresh();
        for number in 0..100 {
            note(number);
        }
        assert_eq!(note(32_000), Arrival::Ahead(31_900));
        assert_eq!(note(31_999), Arrival::Reordered);
        assert_eq!(note(32_000 - 16_383), Arrival::Reordered);
        assert_eq!(note(32_000 - 16_384), Arrival::Forgotten);
    }
}
