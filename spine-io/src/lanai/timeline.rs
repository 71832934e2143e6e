//! Real time for a card: its time is the wall's since a base, and the base gives way.
//!
//! A machine that runs other things does not always run the card in time. For a while the card catches up:
//! what it should have done then it does now, as at that time. Beyond [`MOST_BEHIND`] that would be one
//! long burst of what is no use any more, so for the card the time it missed did not pass, and that is
//! counted: what is measured in such a run is the machine, not the card, unless the time left out is taken off.

use spine_abi::Nanos;

/// How far, in nanoseconds, a card may be behind and catch up.
pub(super) const MOST_BEHIND: u64 = 5_000_000;

/// Where a card's time stands against the wall's.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    base: u64,
    late: u64,
    left_out: u64,
}

impl Timeline {
    /// The card's time at a time of the wall's.
    pub(super) fn at(&self, wall: Nanos) -> Nanos {
        Nanos(wall.0.saturating_sub(self.base))
    }

    /// How far a card whose time is `now` may go at `wall`, and how much time, in nanoseconds, is left out
    /// for that: what was asked of [`at`](Self::at) before is so much too late.
    pub(super) fn reach(&mut self, wall: Nanos, now: Nanos) -> (Nanos, u64) {
        let behind = self.at(wall).since(now);
        let left_out = if behind > MOST_BEHIND { behind } else { 0 };
        self.base += left_out;
        self.late += u64::from(left_out > 0);
        self.left_out += left_out;
        (self.at(wall), left_out)
    }

    /// How often time was left out.
    pub(super) fn late(&self) -> u64 {
        self.late
    }

    /// How much, in nanoseconds.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_catches_up_five_milliseconds_and_leaves_out_more() {
        let mut timeline = Timeline::default();
        let behind = Nanos(MOST_BEHIND);
        assert_eq!(timeline.reach(behind, Nanos(0)), (behind, 0));
        let left_out = MOST_BEHIND + 1;
        assert_eq!(timeline.reach(Nanos(MOST_BEHIND + 8), Nanos(7)), (Nanos(7), left_out));
        assert_eq!((timeline.late(), timeline.left_out()), (1, left_out));
        assert_eq!(timeline.at(Nanos(MOST_BEHIND + 10)), Nanos(9), "and goes on from there");
    }

    #[test]
    fn a_card_that_is_ahead_waits() {
        let mut timeline = Timeline::default();
        assert_eq!(timeline.reach(Nanos(5), Nanos(900)), (Nanos(5), 0));
    }
}
