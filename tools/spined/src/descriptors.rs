//! Descriptors: how many of the daemon's a user may have it hold.
//!
//! Each connection, each file that comes with an order and each extension's region is a descriptor of the daemon,
//! and without a free one it can take no client, start no linker and read no policy. So they are counted by user:
//! a user may have as many as are left for all users, which leaves some for the next one however many there
//! are; an eighth is root's alone; and the daemon keeps enough for itself.
//!
//! What is counted is what clients can have it hold, by what they were promised: no descriptor is looked for.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};

use crate::clients::{Standing, Who};

/// For the daemon itself: the jobs that run, with a pipe, a module and copies of their regions each, the files it
/// reads, and clients on their way in.
const RESERVE: usize = 128;
/// The share that nobody but root can have.
const ROOTS: usize = 8;
/// What is there in any case, however small the system's limit.
const LEAST: usize = 64;

/// Descriptors that clients may have the daemon hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptors {
    most: usize,
}

impl Descriptors {
    /// Those that are left now, when everything of the daemon's own is open.
    pub(crate) fn left() -> Self {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(limit, _)| limit);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        Self::of(limit, open)
    }

    fn of(limit: usize, open: usize) -> Self {
        Self { most: limit.saturating_sub(open + RESERVE).max(LEAST) }
    }

    /// Refuses a user more of them than he may have, where he has some and all users have so many.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn refuse(
        self,
        who: &Who,
        has: usize,
        all: usize,
        more: usize,
    ) -> Result<(), String> {
        let root = who.standing == Standing::Root;
        let most = if root { self.most } else { self.most - self.most / ROOTS };
        let left = most.saturating_sub(all);
        if more <= left && (root || has + more <= left) {
            return Ok(());
        }
        Err(format!(
            "spined holds {has} files of {} and {all} of all users, and has no room for {more} more: try again when some are gone",
            who.name
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(user: u32) -> Who {
        let standing = if user == 0 { Standing::Root } else { Standing::Granted };
        Who { user, name: format!("user {user}"), groups: Vec::new(), standing }
    }

    /// How many a user gets who takes what he is given, five at a time, where all have so many.
    fn greedy(descriptors: Descriptors, user: u32, all: usize) -> usize {
        let mut has = 0;
        while descriptors.refuse(&who(user), has, all + has, 5).is_ok() {
            has += 5;
        }
        has
    }

    #[test]
    fn nobody_takes_all_and_roots_are_left() {
        let descriptors = Descriptors::of(20_000, 200);
        let mut all = 0;
        for user in 1..8 {
            let taken = greedy(descriptors, user, all);
            assert!(taken > 0, "user {user} finds some");
            all += taken;
        }
        assert!(all <= descriptors.most - descriptors.most / ROOTS);
        assert!(greedy(descriptors, 0, all) >= descriptors.most / ROOTS - 5, "root's");
        let why = descriptors.refuse(&who(7), 4, all, 20_000).expect_err("too many");
        assert!(why.contains("files of user 7") && why.contains("no room for 20000 more"), "{why}");
    }

    #[test]
    fn a_small_limit_leaves_some_still() {
        assert!(Descriptors::of(64, 60).refuse(&who(1), 0, 0, 5).is_ok());
    }
}
