//! Timers: messages that an extension has asked the runtime to send it later.
//!
//! A timer is due at a time of the adapter's own clock, a model's virtual one included, and its message is an
//! ordinary one: it waits its turn, runs on a message's fuel, and counts against the extension's share. An
//! extension has few of them at one time, and none sooner than a shortest time, so that an adapter without
//! packets still sleeps between them. They belong to the extension and end with it; its next version
//! inherits them.
//!
//! The time is that of the turn in which the extension was entered. What is armed by `init` counts from the
//! moment the extension is installed.

use spine_abi::limits::{TIMER_MICROSECONDS, TIMERS};
use spine_abi::{ErrorCode, HandlerNumber, Nanos};

/// One timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timer {
    /// What the extension knows it by.
    number: u32,
    due: Nanos,
    /// Which of its handlers gets the message.
    pub(crate) handler: HandlerNumber,
    /// What the message says.
    pub(crate) token: u64,
}

/// An extension's timers.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    now: Nanos,
    newest: u32,
    pending: Vec<Timer>,
    armed: bool,
}

impl Timers {
    /// Says what time it is.
    #[inline]
    pub(crate) fn set_now(&mut self, now: Nanos) {
        self.now = now;
    }

    /// Arms one; its number.
    ///
    /// # Errors
    /// [`ErrorCode::Full`]: there are as many as there may be.
    pub(super) fn arm(
        &mut self,
        microseconds: u32,
        handler: HandlerNumber,
        token: u64,
    ) -> Result<u32, ErrorCode> {
        if self.pending.len() >= TIMERS {
            return Err(ErrorCode::Full);
        }
        self.newest = self.newest.wrapping_add(1) & (u32::MAX >> 1);
        let after = 1000 * u64::from(microseconds.max(TIMER_MICROSECONDS));
        let due = Nanos(self.now.0.saturating_add(after));
        self.pending.push(Timer { number: self.newest, due, handler, token });
        self.armed = true;
        Ok(self.newest)
    }

    /// Ends one before it is due.
    ///
    /// # Errors
    /// [`ErrorCode::NoTimer`]: it was due already, or never armed.
    pub(super) fn cancel(&mut self, number: u32) -> Result<(), ErrorCode> {
        let place = self.pending.iter().position(|timer| timer.number == number);
        self.pending.swap_remove(place.ok_or(ErrorCode::NoTimer)?);
        Ok(())
    }

    /// Whether some were armed since [`next`](Self::next) was asked.
    #[inline]
    pub(crate) fn is_armed(&self) -> bool {
        self.armed
    }

    /// When the next one is due; never, if there is none.
    pub(crate) fn next(&mut self) -> Nanos {
        self.armed = false;
        self.pending.iter().map(|timer| timer.due).min().unwrap_or(Nanos(u64::MAX))
    }

    /// Takes one that is due, the longest due first.
    pub(crate) fn take_due(&mut self, now: Nanos) -> Option<Timer> {
        let due = self.pending.iter().enumerate().filter(|(_, timer)| timer.due <= now);
        let (place, _) = due.min_by_key(|(_, timer)| timer.due)?;
        Some(self.pending.swap_remove(place))
    }

    /// Counts what was armed before there was a time from now on.
    pub(crate) fn start(&mut self, now: Nanos) {
        for timer in &mut self.pending {
            timer.due = Nanos(timer.due.0.saturating_add(now.0));
        }
        self.now = now;
    }

    /// Takes over those of an earlier version whose handlers are there still, as many as there is room for.
    pub(crate) fn inherit(&mut self, before: &mut Self, has: impl Fn(HandlerNumber) -> bool) {
        let kept = before.pending.drain(..).filter(|timer| has(timer.handler));
        let room = TIMERS - self.pending.len().min(TIMERS);
        for timer in kept.take(room) {
            self.newest = self.newest.max(timer.number);
            self.pending.push(timer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: HandlerNumber = HandlerNumber(1);

    #[test]
    fn timers_fire_in_the_order_in_which_they_are_due_and_not_before() {
        let mut timers = Timers::default();
        timers.set_now(Nanos(5_000));
        for (after, token) in [(300, 3), (100, 1), (200, 2)] {
            timers.arm(after, ONE, token).unwrap();
        }
        assert_eq!(timers.next(), Nanos(105_000));
        assert_eq!(timers.take_due(Nanos(104_999)), None);
        let fired = |timers: &mut Timers, now| {
            std::iter::from_fn(|| timers.take_due(Nanos(now)))
                .map(|it| it.token)
                .collect::<Vec<_>>()
        };
        assert_eq!(fired(&mut timers, 205_000), [1, 2]);
        assert_eq!(fired(&mut timers, u64::MAX), [3]);
        assert_eq!(timers.next(), Nanos(u64::MAX));
    }

    #[test]
    fn there_are_few_and_none_is_soon() {
        let mut timers = Timers::default();
        for _ in 0..TIMERS {
            timers.arm(0, ONE, 0).unwrap();
        }
        assert_eq!(timers.arm(0, ONE, 0), Err(ErrorCode::Full));
        assert_eq!(timers.next(), Nanos(1000 * u64::from(TIMER_MICROSECONDS)));
    }

    #[test]
    fn a_number_ends_its_own_timer_only() {
        let mut timers = Timers::default();
        let (first, second) = (timers.arm(500, ONE, 1).unwrap(), timers.arm(500, ONE, 2).unwrap());
        assert_eq!(timers.cancel(first), Ok(()));
        assert_eq!(timers.cancel(first), Err(ErrorCode::NoTimer));
        assert_eq!(timers.take_due(Nanos(u64::MAX)).map(|it| it.token), Some(2));
        assert_eq!(timers.cancel(second), Err(ErrorCode::NoTimer), "it was due");
    }

    #[test]
    fn what_init_armed_counts_from_the_start_and_a_next_version_inherits() {
        let mut before = Timers::default();
        before.arm(1000, ONE, 1).unwrap();
        before.arm(1000, HandlerNumber(2), 2).unwrap();
        before.start(Nanos(7));
        let mut after = Timers::default();
        after.inherit(&mut before, |handler| handler == ONE);
        assert_eq!(after.next(), Nanos(1_000_007));
        assert_eq!(after.take_due(Nanos(u64::MAX)).map(|it| it.token), Some(1));
        assert_eq!(after.take_due(Nanos(u64::MAX)), None, "nobody has that handler any more");
    }
}
