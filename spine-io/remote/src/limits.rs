//! How much of other machines' frames is looked at: a bound on what anybody on the wire can have us compute.
//!
//! Frames of a handshake cost a hash, an opened box, or an agreement on a curve, and who sends them is not known
//! before that was paid. So each kind of work has a bucket of tokens for each peer and one for all together, filled by
//! the adapter's clock; what finds none is not looked at, and counted.

use spine_abi::Nanos;

const SECOND: u64 = 1_000_000_000;

/// Tokens that come with time.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    each_second: u64,
    most: u64,
    tokens: u64,
    /// When the tokens were as said.
    at: Nanos,
}

impl Bucket {
    const fn new(each_second: u64, most: u64) -> Self {
        Self { each_second, most, tokens: most, at: Nanos(0) }
    }

    fn fill(&mut self, now: Nanos) {
        let passed = now.since(self.at);
        let more = passed.saturating_mul(self.each_second) / SECOND;
        if more > 0 {
            self.tokens = self.tokens.saturating_add(more).min(self.most);
            self.at = now;
        }
    }
}

/// Buckets for the work of a handshake.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    looks: Bucket,
    agreements: Bucket,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// A hash, or a box opened: microseconds.
    Look,
    /// An agreement on the curve: a hundred.
    Agreement,
}

impl Default for Limits {
    /// Those of all peers of an adapter together.
    fn default() -> Self {
        Self { looks: Bucket::new(4000, 400), agreements: Bucket::new(100, 64) }
    }
}

impl Limits {
    /// One peer's: some thousandths of a second, each second.
    pub(super) const fn of_peer() -> Self {
        Self { looks: Bucket::new(1000, 100), agreements: Bucket::new(10, 8) }
    }

    fn bucket(&mut self, work: Work) -> &mut Bucket {
        match work {
            Work::Look => &mut self.looks,
            Work::Agreement => &mut self.agreements,
        }
    }

    /// Takes a token here and there, or none of either.
    pub(super) fn take(&mut self, all: &mut Self, work: Work, now: Nanos) -> bool {
        let (ours, all) = (self.bucket(work), all.bucket(work));
        ours.fill(now);
        all.fill(now);
        let both = ours.tokens > 0 && all.tokens > 0;
        ours.tokens -= u64::from(both);
        all.tokens -= u64::from(both);
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_rate_for_each_and_one_for_all() {
        let mut all = Limits::default();
        let mut peers = [Limits::of_peer(); 20];
        let mut taken = [0; 20];
        for millisecond in 0..1000 {
            let now = Nanos(millisecond * SECOND / 1000);
            for (peer, taken) in peers.iter_mut().zip(&mut taken) {
                *taken += (0..20).filter(|_| peer.take(&mut all, Work::Look, now)).count();
            }
        }
        assert!(taken.iter().all(|taken| *taken <= 1100), "{taken:?}");
        let sum: usize = taken.iter().sum();
        assert!((4000..=4400).contains(&sum), "{sum}");
        let later = Nanos(10 * SECOND);
        let burst = (0..100).filter(|_| peers[0].take(&mut all, Work::Agreement, later)).count();
        assert_eq!(burst, 8, "no more than a bucket holds");
    }
}
