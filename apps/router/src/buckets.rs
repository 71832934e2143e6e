//! Spreads packets over the hops of a multipath route.
//!
//! Each hop gets buckets in proportion to its weight (largest remainders first). Which ones is
//! decided by a hash of hop and bucket alone, so that a list of hops always gives the same buckets,
//! and a hop that goes away takes few flows of the others along.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::fib::BUCKETS;

/// The buckets for weighted hops: for each, the position of its hop. One bucket for one hop, else
/// [`BUCKETS`]; none for none. Weights of zero count as one.
pub fn spread<K: Hash>(hops: &[(K, u32)]) -> Vec<usize> {
    if hops.len() < 2 {
        return vec![0; hops.len()];
    }
    let mut left = shares(hops);
    let mut buckets = Vec::with_capacity(BUCKETS);
    for bucket in 0..BUCKETS {
        let open = (0..hops.len()).filter(|position| left[*position] > 0);
        let chosen = open.max_by_key(|position| rank(&hops[*position].0, bucket)).unwrap_or(0);
        left[chosen] = left[chosen].saturating_sub(1);
        buckets.push(chosen);
    }
    buckets
}

fn rank<K: Hash>(hop: &K, bucket: usize) -> u64 {
    // Not seeded: the same in every run.
    let mut hasher = DefaultHasher::new();
    (hop, bucket).hash(&mut hasher);
    hasher.finish()
}

/// How many of the buckets each hop gets; they add up to [`BUCKETS`].
fn shares<K>(hops: &[(K, u32)]) -> Vec<usize> {
    let weight = |position: usize| u64::from(hops[position].1.max(1));
    let total: u64 = (0..hops.len()).map(weight).sum();
    let scaled = |position: usize| weight(position) * BUCKETS as u64;
    let whole = |position: usize| usize::try_from(scaled(position) / total).unwrap_or(BUCKETS);
    let mut shares: Vec<usize> = (0..hops.len()).map(whole).collect();
    let missing = BUCKETS - shares.iter().sum::<usize>();
    let mut by_remainder: Vec<usize> = (0..hops.len()).collect();
    by_remainder.sort_by_key(|position| (std::cmp::Reverse(scaled(*position) % total), *position));
    for position in by_remainder.into_iter().take(missing) {
        shares[position] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(weights: &[u32]) -> Vec<usize> {
        let hops: Vec<(usize, u32)> = weights.iter().copied().enumerate().collect();
        let buckets = spread(&hops);
        (0..weights.len()).map(|hop| buckets.iter().filter(|b| **b == hop).count()).collect()
    }

    #[test]
    fn buckets_follow_the_weights() {
        for (weights, expected) in [
            (vec![7], vec![1]),
            (vec![], vec![]),
            (vec![1, 1], vec![32, 32]),
            (vec![3, 1], vec![48, 16]),
            (vec![1, 1, 1], vec![22, 21, 21]),
            (vec![65536, 1], vec![64, 0]),
        ] {
            assert_eq!(counts(&weights), expected, "{weights:?}");
        }
    }

    #[test]
    fn a_hop_that_goes_away_leaves_most_flows_of_the_others_where_they_were() {
        let all = [("a", 1), ("b", 1), ("c", 1), ("d", 1)];
        let before = spread(&all);
        let after = spread(&all[..3]);
        let moved = (0..BUCKETS).filter(|b| before[*b] != 3 && before[*b] != after[*b]).count();
        assert!(moved <= BUCKETS / 4, "{moved} of 48 buckets moved");
    }
}
