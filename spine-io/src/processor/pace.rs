//! The pace of one wire: how fast packets leave, and so when to flush and how long to stay awake.

use crate::clock::Nanos;

/// Packets a flush waits for at a high rate: half of what one system call can send.
const BATCH: usize = 24;
/// The longest a packet waits for others, in nanoseconds.
const LONGEST_WAIT: u64 = 300_000;
/// The rate above which flushes wait, in packets a second.
const HIGH_RATE: u64 = 60_000;
/// The time over which the rate is measured, in nanoseconds.
const WINDOW: u64 = 2_000_000;
/// How long a processor stays awake without work, at a high and at a low rate, in nanoseconds.
const PATIENCE: (u64, u64) = (60_000, 5_000);

/// One wire's pace.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the first packet that waits was seen.
    waiting_since: Option<Nanos>,
    window: Nanos,
    in_window: u64,
    rate: u64,
}

impl Pace {
    /// Whether `unflushed` packets should leave now.
    #[inline]
    pub(super) fn is_due(&mut self, unflushed: usize, now: Nanos) -> bool {
        let elapsed = now.since(self.window);
        if elapsed >= WINDOW {
            self.rate = self.in_window.saturating_mul(1_000_000_000) / elapsed;
            self.in_window = 0;
            self.window = now;
        }
        if unflushed == 0 {
            self.waiting_since = None;
            return false;
        }
        let since = *self.waiting_since.get_or_insert(now);
        self.rate < HIGH_RATE || unflushed >= BATCH || now.since(since) >= LONGEST_WAIT
    }

    /// Notes that packets leave.
    #[inline]
    pub(super) fn flushed(&mut self, packets: usize) {
        self.waiting_since = None;
        self.in_window += packets as u64;
    }

    /// How long to stay awake without work.
    #[inline]
    pub(super) fn patience(&self) -> u64 {
        if self.rate >= HIGH_RATE { PATIENCE.0 } else { PATIENCE.1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends one packet every `gap` nanoseconds and counts flushes and the longest wait.
    fn run(gap: u64, packets: u64) -> (u64, u64) {
        let mut pace = Pace::default();
        let (mut waiting, mut flushes, mut longest, mut first) = (0, 0, 0, 0);
        for n in 1..=packets {
            let now = Nanos(n * gap);
            waiting += 1;
            if waiting == 1 {
                first = now.0;
            }
            if pace.is_due(waiting, now) {
                longest = longest.max(now.0 - first);
                pace.flushed(waiting);
                waiting = 0;
                flushes += 1;
            }
        }
        (flushes, longest)
    }

    #[test]
    fn a_slow_wire_flushes_every_packet_at_once() {
        assert_eq!(run(100_000, 1000), (1000, 0));
    }

    #[test]
    fn at_a_hundred_thousand_a_second_a_flush_carries_sixteen_or_more_and_waits_a_bounded_time() {
        let (flushes, longest) = run(10_000, 100_000);
        assert!(100_000 / flushes >= 16, "{flushes} flushes");
        assert!(longest <= LONGEST_WAIT, "{longest} ns");
    }
}
