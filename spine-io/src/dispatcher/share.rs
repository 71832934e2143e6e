//! Fair shares: extensions on an adapter are served by deficit round robin on fuel.
//!
//! Each time it is an extension's turn it may spend one entry's budget, less the overdraft of its last
//! turn (the last message of an entry may go over). Nothing is saved up: an entry that ends for want of
//! messages, or with the burst, leaves nothing for a longer one later.

/// What one extension may still spend.
#[derive(Debug, Clone, Copy, Default)]
pub struct Share {
    deficit: i64,
}

impl Share {
    /// Starts a turn: adds the entry budget and says how much may be spent, zero if the overdraft is
    /// larger than that.
    pub fn begin(&mut self, entry: u64) -> u64 {
        self.deficit = self.deficit.saturating_add(i64::try_from(entry).unwrap_or(i64::MAX));
        u64::try_from(self.deficit).unwrap_or(0)
    }

    /// Ends a turn in which `used` was spent.
    pub fn end(&mut self, used: u64) {
        self.deficit = self.deficit.saturating_sub(i64::try_from(used).unwrap_or(i64::MAX)).min(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_busy_extensions_spend_the_same_whatever_their_messages_cost() {
        // One overdraws by most of an expensive message in each turn, the other spends exactly.
        let costs = [90_u64, 7];
        let mut spent = [0_u64; 2];
        let mut shares = [Share::default(); 2];
        for _ in 0..1000 {
            for (share, (cost, total)) in shares.iter_mut().zip(costs.iter().zip(&mut spent)) {
                let allowed = share.begin(100);
                let mut used = 0;
                while used < allowed {
                    used += cost;
                }
                share.end(used);
                *total += used;
            }
        }
        let difference = spent[0].abs_diff(spent[1]);
        assert!(difference <= 100, "{spent:?}");
    }

    #[test]
    fn cheap_turns_save_nothing_up() {
        let mut share = Share::default();
        for _ in 0..10 {
            share.begin(100);
            share.end(1);
        }
        assert_eq!(share.begin(100), 100);
    }
}
