//! Bytes moving at a constant speed from a point in time on.

use crate::time::{Rate, Time};

/// How far a transfer is, as a function of time, without adding up rounded pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    origin: Time,
    rate: Rate,
    moved: u64,
}

impl Flow {
    /// Nothing has moved yet; the first byte starts at `origin`.
    pub(crate) fn new(origin: Time, rate: Rate) -> Self {
        Self { origin, rate, moved: 0 }
    }

    /// When `bytes` more than now will have moved.
    pub(crate) fn due(&self, bytes: u64) -> Time {
        self.origin + self.rate.duration(self.moved.saturating_add(bytes))
    }

    /// How many more bytes have moved by `now`.
    pub(crate) fn ready(&self, now: Time) -> u64 {
        // A byte counts at the (rounded down) picosecond that `due` names.
        let within = now - self.origin + Time::from_ps(1);
        let begun =
            if now < self.origin { 0 } else { self.rate.count_up(within).saturating_sub(1) };
        begun.saturating_sub(self.moved)
    }

    /// Takes note that `bytes` have been moved.
    pub(crate) fn take(&mut self, bytes: u64) {
        self.moved = self.moved.saturating_add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::Flow;
    use crate::time::{Rate, Time};

    #[test]
    fn due_and_ready_agree_at_awkward_speeds() {
        for rate in [110_000_000, 160_000_000, 133_333_333, 7] {
            let mut flow = Flow::new(Time::from_us(3), Rate::per_second(rate));
            assert_eq!(flow.ready(Time::from_us(2)), 0);
            for step in [1, 4, 32, 1000] {
                let due = flow.due(step);
                assert_eq!(flow.ready(due), step, "rate {rate} step {step}");
                assert_eq!(flow.ready(due - Time::from_ps(1)), step - 1);
                flow.take(step);
            }
        }
    }
}
