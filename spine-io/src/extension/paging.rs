//! Whether an extension's memory is taken away while it runs.
//!
//! All memory of an extension is there when it is loaded, so that no budget is spent on page faults. But who
//! shares a region with it can take pages away again (holes punched into the file), and then each page
//! touched takes the system a microsecond that no fuel pays for: a budget of two thousand loads becomes
//! milliseconds, and the neighbours wait. Nothing keeps him from it: a seal against holes would also keep the
//! next version of the extension from mapping the region.
//!
//! So the page faults of the processor's thread are counted around an entry now and then, and around each
//! one for a while after there were many. An entry with many then is a strike. Who swaps is not struck: what
//! comes back from a disk counts as another kind of fault. Extensions without regions are not looked at.

use nix::sys::resource::{UsageWho, getrusage};

/// Page faults in one entry that are many: as long as a few dozen microseconds.
pub(super) const MANY: u64 = 64;
/// Entries between two that are looked at: two system calls are nothing among so many bursts.
const EVERY: u32 = 256;
/// Entries that are looked at after one with many faults.
const SUSPECTED: u32 = 4 * EVERY;

/// What is known of an extension's page faults.
#[derive(Debug, Default)]
pub(super) struct Paging {
    shares: bool,
    entries: u32,
    suspected: u32,
    /// While an entry is looked at: the faults before it, and those of extensions that were called.
    before: Option<u64>,
    others: u64,
}

impl Paging {
    /// Looks from now on, if the extension shares memory.
    pub(super) fn share(&mut self, shares: bool) {
        self.shares = shares;
    }

    /// The beginning of an entry.
    #[inline]
    pub(super) fn begin(&mut self) {
        if self.shares {
            self.count();
        }
    }

    fn count(&mut self) {
        self.entries = self.entries.wrapping_add(1);
        if self.suspected > 0 || self.entries.is_multiple_of(EVERY) {
            self.before = Some(faults());
            self.others = 0;
        }
    }

    /// Whether this entry is looked at.
    #[inline]
    pub(super) fn is_looking(&self) -> bool {
        self.before.is_some()
    }

    /// So many faults were another extension's.
    pub(super) fn except(&mut self, others: u64) {
        self.others += others;
    }

    /// The end of an entry: whether it had many faults, and not for the first time.
    #[inline]
    pub(super) fn end(&mut self) -> bool {
        self.before.take().is_some_and(|before| self.judge(faults().saturating_sub(before)))
    }

    fn judge(&mut self, faults: u64) -> bool {
        let (many, known) = (faults.saturating_sub(self.others) > MANY, self.suspected > 0);
        self.suspected = if many { SUSPECTED } else { self.suspected.saturating_sub(1) };
        many && known
    }
}

/// Page faults of this thread so far that needed no disk.
pub(super) fn faults() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_THREAD);
    usage.map_or(0, |usage| u64::try_from(usage.minor_page_faults()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_faults_are_a_strike_only_when_they_come_again() {
        let mut paging = Paging { shares: true, ..Paging::default() };
        assert!(!paging.judge(MANY) && !paging.judge(MANY + 1), "the first time");
        assert!(!paging.judge(MANY), "few");
        assert!(paging.judge(MANY + 1));
        paging.others = 1;
        assert!(!paging.judge(MANY + 1), "one was another's");
        paging.others = 0;
        for _ in 0..SUSPECTED {
            assert!(!paging.judge(0));
        }
        assert!(!paging.judge(MANY + 1), "that was long ago");
    }

    #[test]
    fn one_entry_of_many_is_looked_at_and_none_without_regions() {
        let looked = |paging: &mut Paging| {
            (0..EVERY)
                .filter(|_| {
                    paging.begin();
                    let looking = paging.is_looking();
                    assert!(!paging.end());
                    looking
                })
                .count()
        };
        assert_eq!(looked(&mut Paging { shares: true, ..Paging::default() }), 1);
        assert_eq!(looked(&mut Paging::default()), 0);
    }
}
