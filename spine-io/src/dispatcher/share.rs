//! Fair shares: extensions on an adapter are served by deficit round robin on fuel.
//!
//! Each time it is an extension's turn its deficit grows by one entry's budget; it may spend what it
//! has, and an overdraft (the last message of an entry may go over) is paid back next time. An
//! extension without waiting messages saves nothing up.

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

    /// Ends a turn in which `used` was spent; `more` says whether messages still wait.
    pub fn end(&mut self, used: u64, more: bool) {
        self.deficit = self.deficit.saturating_sub(i64::try_from(used).unwrap_or(i64::MAX));
        if !more {
            self.deficit = self.deficit.min(0);
        }
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
                share.end(used, true);
                *total += used;
            }
        }
        let difference = spent[0].abs_diff(spent[1]);
        assert!(difference <= 100, "{spent:?}");
    }

    #[test]
    fn an_idle_extension_saves_nothing_up() {
        let mut share = Share::default();
        for _ in 0..10 {
            share.begin(100);
            share.end(1, false);
        }
        assert_eq!(share.begin(100), 100);
    }
}
