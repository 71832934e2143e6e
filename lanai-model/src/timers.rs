//! RTC, which counts up, and IT, which counts down.
//!
//! Both move on one grid of ticks that starts with the board; writing either changes its value, not the grid. TIME_INT
//! rises when IT goes from zero to all ones.

use crate::time::Time;

/// The two counters.
#[derive(Clone, Debug)]
pub struct Timers {
    tick: Time,
    rtc: Written,
    it: Written,
}

/// What a counter held at some tick.
#[derive(Clone, Copy, Debug)]
struct Written {
    value: u32,
    tick: u64,
}

impl Timers {
    /// RTC at zero and IT at all ones, 35 minutes from its wrap.
    #[must_use]
    pub fn new(tick: Time) -> Self {
        let tick = if tick == Time::ZERO { Time::from_ps(1) } else { tick };
        let at = |value| Written { value, tick: 0 };
        Self { tick, rtc: at(0), it: at(u32::MAX) }
    }

    /// RTC now.
    #[must_use]
    pub fn rtc(&self, now: Time) -> u32 {
        self.rtc.value.wrapping_add(self.since(self.rtc, now))
    }

    /// IT now.
    #[must_use]
    pub fn it(&self, now: Time) -> u32 {
        self.it.value.wrapping_sub(self.since(self.it, now))
    }

    /// Sets RTC.
    pub fn set_rtc(&mut self, now: Time, value: u32) {
        self.rtc = Written { value, tick: self.ticks(now) };
    }

    /// Sets IT, and with it the time of the next wrap.
    pub fn set_it(&mut self, now: Time, value: u32) {
        self.it = Written { value, tick: self.ticks(now) };
    }

    /// When IT wraps next.
    #[must_use]
    pub fn wrap(&self) -> Time {
        let tick = self.it.tick.saturating_add(u64::from(self.it.value)).saturating_add(1);
        Time::from_ps(tick.saturating_mul(self.tick.ps()))
    }

    /// Goes past the wrap that is due at `now`; false if none is.
    pub fn pass_wrap(&mut self, now: Time) -> bool {
        let due = self.wrap() <= now;
        if due {
            self.set_it(self.wrap(), u32::MAX);
        }
        due
    }

    fn ticks(&self, now: Time) -> u64 {
        now.ps() / self.tick.ps()
    }

    #[expect(clippy::cast_possible_truncation, reason = "the counters are 32 bits and wrap")]
    fn since(&self, written: Written, now: Time) -> u32 {
        self.ticks(now).saturating_sub(written.tick) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::Timers;
    use crate::time::Time;

    fn timers() -> Timers {
        Timers::new(Time::from_ns(500))
    }

    #[test]
    fn rtc_counts_half_microseconds_up_and_it_down() {
        let timers = timers();
        assert_eq!(timers.rtc(Time::from_ns(499)), 0);
        assert_eq!(timers.rtc(Time::from_us(10)), 20);
        assert_eq!(timers.it(Time::from_us(10)), u32::MAX - 20);
    }

    #[test]
    fn both_are_writable_and_wrap() {
        let mut timers = timers();
        timers.set_rtc(Time::from_us(1), u32::MAX);
        assert_eq!(timers.rtc(Time::from_us(2)), 1);
        timers.set_it(Time::from_us(1), 3);
        assert_eq!(timers.wrap(), Time::from_us(3));
        assert_eq!(timers.it(Time::from_ns(2_500)), 0);
        assert!(!timers.pass_wrap(Time::from_ns(2_999)));
        assert!(timers.pass_wrap(Time::from_us(3)));
        assert_eq!(timers.it(Time::from_us(3)), u32::MAX);
        assert!(!timers.pass_wrap(Time::from_us(3)));
    }
}
