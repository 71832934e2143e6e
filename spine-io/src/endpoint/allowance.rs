//! Allowances: how many messages applications may send to an adapter each second.
//!
//! An owner (a user, as the daemon counts them) has one allowance on an adapter, however many FIFOs he has
//! there. It is saved up for a second at most. What is beyond it is not dropped: it waits in the FIFO,
//! which fills, and so the sender is slowed down to his rate. That costs the adapter a look a millisecond,
//! and no message.
//!
//! Left out: time in which the adapter did not turn is time all the same, so who begins to send has a
//! second's worth.

use spine_abi::Nanos;

/// How long a FIFO is left alone at the least when its allowance is used up, in nanoseconds.
const HOLD: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// Messages that one owner's FIFOs may carry together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Whose it is.
    pub owner: u32,
    /// Messages a second.
    pub each_second: u32,
}

#[derive(Debug)]
struct Bucket {
    allowance: Allowance,
    /// Billionths of a message.
    saved: u64,
    filled: Option<Nanos>,
    fifos: usize,
}

/// Everybody's, on one adapter.
#[derive(Debug, Default)]
pub(crate) struct Allowances(Vec<Bucket>);

impl Bucket {
    fn fill(&mut self, now: Nanos) {
        let rate = u64::from(self.allowance.each_second);
        let passed = self.filled.map_or(SECOND, |before| now.since(before).min(SECOND));
        // At most 2^32 messages' worth a second: far from 2^64.
        self.saved = (self.saved + passed * rate).min(SECOND * rate);
        self.filled = Some(now);
    }
}

impl Allowances {
    fn of(&mut self, owner: u32) -> Option<&mut Bucket> {
        self.0.iter_mut().find(|bucket| bucket.allowance.owner == owner)
    }

    /// Takes one more FIFO of an owner in. What is said of his rate last holds.
    pub(crate) fn join(&mut self, allowance: Allowance) {
        if let Some(bucket) = self.of(allowance.owner) {
            bucket.allowance = allowance;
            bucket.fifos += 1;
            return;
        }
        self.0.push(Bucket { allowance, saved: 0, filled: None, fifos: 1 });
    }

    /// One of his FIFOs is gone.
    pub(crate) fn leave(&mut self, owner: u32) {
        if let Some(bucket) = self.of(owner) {
            bucket.fifos -= 1;
        }
        self.0.retain(|bucket| bucket.fifos > 0);
    }

    /// How long to wait, in nanoseconds, before an owner's next message is taken; `None` if it may be now.
    pub(crate) fn wait(&mut self, owner: u32, now: Nanos) -> Option<u64> {
        let bucket = self.of(owner)?;
        bucket.fill(now);
        let missing = SECOND.checked_sub(bucket.saved).filter(|missing| *missing > 0)?;
        // Of a rate of zero it is never there; who changes that opens a FIFO.
        let until = missing.checked_div(u64::from(bucket.allowance.each_second)).unwrap_or(SECOND);
        Some(until.clamp(HOLD, SECOND))
    }

    /// An owner has sent one.
    pub(crate) fn spend(&mut self, owner: u32) {
        if let Some(bucket) = self.of(owner) {
            bucket.saved = bucket.saved.saturating_sub(SECOND);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(allowances: &mut Allowances, owner: u32, now: Nanos) -> usize {
        let take = |_: &u32| {
            let has = allowances.wait(owner, now).is_none();
            if has {
                allowances.spend(owner);
            }
            has
        };
        (0..100).take_while(take).count()
    }

    #[test]
    fn an_owner_sends_so_many_a_second_and_saves_up_no_more() {
        let mut all = Allowances::default();
        all.join(Allowance { owner: 7, each_second: 10 });
        assert_eq!(taken(&mut all, 7, Nanos(0)), 10);
        assert_eq!(all.wait(7, Nanos(0)), Some(SECOND / 10));
        assert_eq!(taken(&mut all, 7, Nanos(SECOND / 2)), 5);
        assert_eq!(taken(&mut all, 7, Nanos(60 * SECOND)), 10);
        all.join(Allowance { owner: 8, each_second: 0 });
        assert_eq!(taken(&mut all, 8, Nanos(61 * SECOND)), 0, "nothing at all");
        assert_eq!(all.wait(8, Nanos(62 * SECOND)), Some(SECOND));
    }

    #[test]
    fn all_fifos_of_an_owner_share_what_he_has() {
        let mut all = Allowances::default();
        all.join(Allowance { owner: 7, each_second: 10 });
        assert_eq!(taken(&mut all, 7, Nanos(0)), 10);
        all.join(Allowance { owner: 7, each_second: 10 });
        assert_eq!(taken(&mut all, 7, Nanos(0)), 0, "a second FIFO brings nothing");
        all.leave(7);
        assert_eq!(taken(&mut all, 7, Nanos(0)), 0, "nor does closing one");
        assert_eq!(taken(&mut all, 7, Nanos(SECOND)), 10);
    }
}
