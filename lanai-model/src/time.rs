//! Virtual time: picoseconds since the board was made.
//!
//! Nothing in the model reads a clock; a run is repeated exactly. Picoseconds hold a 33 MHz cycle (30,303 ps) and a byte on
//! a 160 MB/s link (6,250 ps) without noticeable rounding, and 64 bits of them last 213 days.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

/// A point in virtual time, or a length of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The start of the run; no time at all.
    pub const ZERO: Self = Self(0);
    /// Later than anything that happens.
    pub const NEVER: Self = Self(u64::MAX);

    /// So many picoseconds.
    #[must_use]
    pub const fn from_ps(ps: u64) -> Self {
        Self(ps)
    }

    /// So many nanoseconds.
    #[must_use]
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns.saturating_mul(1_000))
    }

    /// So many microseconds.
    #[must_use]
    pub const fn from_us(us: u64) -> Self {
        Self(us.saturating_mul(1_000_000))
    }

    /// In picoseconds.
    #[must_use]
    pub const fn ps(self) -> u64 {
        self.0
    }

    /// In microseconds, for people.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for display; 2^53 ps are 2.5 hours")]
    pub fn us(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl Add for Time {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Time {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Time {
    type Output = Self;

    /// The length from `other` to `self`; none if `other` is later.
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Time {
    /// Microseconds with three decimals: `12.345 us`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} us", self.0 / 1_000_000, self.0 / 1_000 % 1_000)
    }
}

/// A speed in events (bytes, cycles) a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(u64);

const PS_PER_SECOND: u128 = 1_000_000_000_000;

impl Rate {
    /// So many a second; zero is taken as one.
    #[must_use]
    pub const fn per_second(n: u64) -> Self {
        Self(if n == 0 { 1 } else { n })
    }

    /// How many a second.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// How long `n` take, rounded down.
    #[must_use]
    pub fn duration(self, n: u64) -> Time {
        let ps = u128::from(n) * PS_PER_SECOND / u128::from(self.0);
        Time(u64::try_from(ps).unwrap_or(u64::MAX))
    }

    /// How many whole ones pass in `time`.
    #[must_use]
    pub fn count(self, time: Time) -> u64 {
        let n = u128::from(time.0) * u128::from(self.0) / PS_PER_SECOND;
        u64::try_from(n).unwrap_or(u64::MAX)
    }

    /// How many have begun by `time`: the first index whose start is not before it.
    #[must_use]
    pub fn count_up(self, time: Time) -> u64 {
        let n = (u128::from(time.0) * u128::from(self.0)).div_ceil(PS_PER_SECOND);
        u64::try_from(n).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::{Rate, Time};

    #[test]
    fn a_byte_at_160_megabytes_a_second_takes_6_25_ns() {
        let link = Rate::per_second(160_000_000);
        assert_eq!(link.duration(1), Time::from_ps(6_250));
        assert_eq!(link.count(Time::from_us(1)), 160);
    }

    #[test]
    fn cycles_and_time_agree_without_drift() {
        let clock = Rate::per_second(33_000_000);
        for n in [1, 2, 33, 1_000_003, 33_000_000 * 3_600] {
            assert_eq!(clock.count_up(clock.duration(n)), n);
        }
        assert_eq!(clock.duration(33_000_000), Time::from_us(1_000_000));
    }

    #[test]
    fn time_does_not_run_below_zero_and_prints_in_microseconds() {
        assert_eq!(Time::from_us(1) - Time::from_us(2), Time::ZERO);
        assert_eq!((Time::from_us(12) + Time::from_ns(345)).to_string(), "12.345 us");
    }
}
