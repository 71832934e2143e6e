//! Pace: when waiting packets are flushed, and how long a processor stays awake without work.
//!
//! A flush may be a system call, which costs more than a packet. So at high rates flushes are paid for:
//! every packet that leaves earns a sixteenth of one (a little less, for the other calls a loop makes),
//! on whatever wire of the processor, and a flush waits until it can be afforded or a short time has
//! passed. A burst pays for itself and for the odd acknowledgement in the other direction, which then
//! does not wait. At low rates every packet leaves at once.
//!
//! Sleeping costs a call as well, and waking up another's time; looking on costs whoever else would
//! use the core. So a processor looks for a few packets' time, and longer only at a high rate that has
//! not earned a sleep.

use spine_abi::Nanos;

/// Packets that pay for one flush.
const PRICE: i64 = 20;
/// Flushes that can be saved up.
const SAVINGS: i64 = 8;
/// Packets that no flush waits beyond: what one call sends where the kernel has no larger budget.
const BATCH: usize = 32;
/// The longest a packet waits for others, in nanoseconds.
const LONGEST_WAIT: u64 = 300_000;
/// The rate of a wire above which its flushes are paid for, in packets a second.
const HIGH_RATE: u64 = 60_000;
/// The time over which the rate is measured, in nanoseconds.
const WINDOW: u64 = 2_000_000;
/// How long a processor looks for work in vain, at the least and at the most, in nanoseconds.
const PATIENCE: (u64, u64) = (5_000, 60_000);
/// How many packets' time it looks in between.
const PATIENCE_PACKETS: u64 = 3;

/// What a processor's wires have earned together.
#[derive(Debug, Default)]
pub(super) struct Purse(i64);

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
    pub(super) fn is_due(&mut self, unflushed: usize, purse: &Purse, now: Nanos) -> bool {
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
        self.rate < HIGH_RATE
            || purse.affords(unflushed)
            || unflushed >= BATCH
            || now.since(since) >= LONGEST_WAIT
    }

    /// Notes that packets leave.
    #[inline]
    pub(super) fn flushed(&mut self, packets: usize, purse: &mut Purse) {
        self.waiting_since = None;
        self.in_window += packets as u64;
        purse.pay(packets);
    }

    /// How long to look for work in vain before sleeping.
    #[inline]
    pub(super) fn patience(&self, purse: &Purse) -> u64 {
        if self.rate < HIGH_RATE {
            return PATIENCE.0;
        }
        if !purse.affords(0) {
            return PATIENCE.1;
        }
        (PATIENCE_PACKETS * 1_000_000_000 / self.rate).clamp(PATIENCE.0, PATIENCE.1)
    }
}

impl Purse {
    fn affords(&self, packets: usize) -> bool {
        self.0.saturating_add(earnings(packets)) >= PRICE
    }

    /// Pays for a call, with what these packets earn.
    pub(super) fn pay(&mut self, packets: usize) {
        let left = self.0.saturating_add(earnings(packets)) - PRICE;
        self.0 = left.clamp(-PRICE, SAVINGS * PRICE);
    }
}

fn earnings(packets: usize) -> i64 {
    i64::try_from(packets).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `burst` packets every `gap` nanoseconds, and one the other way every `other` of them;
    /// answers packets, flushes, and the longest wait of either wire.
    fn run(gap: u64, burst: usize, other: u64, bursts: u64) -> (u64, u64, [u64; 2]) {
        let mut purse = Purse::default();
        let mut wires = [(Pace::default(), 0, 0, 0_u64), (Pace::default(), 0, 0, 0)];
        let (mut packets, mut flushes) = (0, 0);
        for n in 1..=bursts {
            let now = Nanos(n * gap);
            let arrivals = [burst, usize::from(n % other == 0)];
            for ((pace, waiting, first, longest), arrived) in wires.iter_mut().zip(arrivals) {
                if *waiting == 0 {
                    *first = now.0;
                }
                *waiting += arrived;
                packets += arrived as u64;
                if pace.is_due(*waiting, &purse, now) {
                    *longest = (*longest).max(now.0 - *first);
                    pace.flushed(*waiting, &mut purse);
                    *waiting = 0;
                    flushes += 1;
                }
            }
        }
        (packets, flushes, wires.map(|wire| wire.3))
    }

    #[test]
    fn a_slow_wire_flushes_every_packet_at_once() {
        assert_eq!(run(100_000, 1, u64::MAX, 1000), (1000, 1000, [0, 0]));
    }

    #[test]
    fn at_a_hundred_thousand_a_second_a_flush_carries_sixteen_or_more_and_waits_a_bounded_time() {
        let (packets, flushes, longest) = run(10_000, 1, u64::MAX, 100_000);
        assert!(packets / flushes >= 16, "{packets} packets, {flushes} flushes");
        assert!(longest[0] <= LONGEST_WAIT, "{longest:?} ns");
    }

    #[test]
    fn a_transfer_in_bursts_pays_for_its_acknowledgements() {
        let (packets, flushes, longest) = run(100_000, 48, 1, 20_000);
        assert!(packets / flushes >= 16, "{packets} packets, {flushes} flushes");
        assert_eq!(longest, [0, 0], "nothing waits");
    }
}
