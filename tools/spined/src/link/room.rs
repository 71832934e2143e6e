//! Where the linker's process runs, and when: where and when nobody else wants to.
//!
//! Adapters spin while there is work, and a compiler takes all the time it is given. So it gives way: it runs at the
//! lowest priority, on none of the adapters' cores if there is another one, and there only while the core is idle
//! (`SCHED_IDLE`). Where it has to share a core with an adapter it runs as a batch job of the lowest weight:
//! a busy adapter then loses a hundredth, and a user's order is not put off for as long as there is traffic.
//!
//! Left out: a control group's weight. The process is in the daemon's own group, whose weight is its unit's to say.

use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::sys;

/// The cores that adapters are pinned to; none: one thread for all of them, on any core.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Room(Vec<usize>);

/// The lowest priority.
const LOWEST: i32 = 19;

impl Room {
    /// What is left beside adapters on these cores.
    pub(crate) fn beside(cores: &[Option<usize>]) -> Self {
        Self(cores.iter().flatten().copied().collect())
    }

    /// As the linker's process is told it.
    pub(super) fn word(&self) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// What that word says; an empty one: no cores.
    pub(super) fn parse(word: &str) -> Option<Self> {
        let cores = word.split(',').filter(|core| !core.is_empty());
        cores.map(|core| core.parse().ok()).collect::<Option<_>>().map(Self)
    }

    /// Has this process give way, from now on.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn enter(&self) -> io::Result<()> {
        let this = Pid::from_raw(0);
        let allowed = sched_getaffinity(this)?;
        let (others, has_core) = self.others(&allowed)?;
        if let Some(others) = others {
            sched_setaffinity(this, &others)?;
        }
        rustix::process::nice(LOWEST)?;
        sys::give_way(has_core)
    }

    /// The cores to stay on, if these are not all that are allowed; and whether there is one that no adapter needs.
    fn others(&self, allowed: &CpuSet) -> nix::Result<(Option<CpuSet>, bool)> {
        let is_allowed = |core: &usize| allowed.is_set(*core).unwrap_or(false);
        let all = (0..CpuSet::count()).filter(is_allowed);
        let left: Vec<usize> = all.clone().filter(|core| !self.0.contains(core)).collect();
        if self.0.is_empty() {
            return Ok((None, left.len() > 1));
        }
        let mut others = CpuSet::new();
        left.iter().try_for_each(|core| others.set(*core))?;
        let has_core = !left.is_empty();
        Ok(((has_core && left.len() < all.count()).then_some(others), has_core))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(cores: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        cores.iter().for_each(|core| set.set(*core).expect("few"));
        set
    }

    #[test]
    fn it_stays_off_the_adapters_cores_where_there_is_another() {
        for (pinned, allowed, stays, has_core) in [
            (vec![], vec![0, 1], None, true),
            (vec![], vec![3], None, false),
            (vec![1], vec![0, 1, 2], Some(vec![0, 2]), true),
            (vec![0, 1], vec![0, 1], None, false),
            (vec![5], vec![0, 1], None, true),
        ] {
            let found = Room(pinned.clone()).others(&set(&allowed)).expect("few");
            assert_eq!(found, (stays.map(|cores| set(&cores)), has_core), "{pinned:?} {allowed:?}");
        }
    }

    #[test]
    fn what_the_process_is_told_is_what_was_meant() {
        for cores in [vec![None], vec![Some(1), Some(3)]] {
            let room = Room::beside(&cores);
            assert_eq!(Room::parse(&room.word()), Some(room));
        }
        assert_eq!(Room::parse("1,x"), None);
    }
}
