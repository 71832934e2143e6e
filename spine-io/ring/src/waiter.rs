//! Waiting as an application does it: by io_uring, or by poll(2) where io_uring is not to be had.
//!
//! An adapter starts with the rights it needs, and without io_uring it does not start. Applications run where
//! somebody else decides: the sysctl `kernel.io_uring_disabled`, or the system call filter of a container, may
//! deny it to them, before they start or while they run. They wait by poll then, from then on, and
//! [`Waiter::denied`] says why. Either way a wait is one system call, and ends for the same reasons.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sleeper::{Sleeper, Watch};

/// Waits until one of several descriptors is readable, or a time has passed.
#[derive(Default)]
pub struct Waiter {
    by: By,
    /// What the ring has, by name.
    watched: Vec<(u64, Watch)>,
}

#[derive(Default)]
enum By {
    /// Nothing yet: a ring is made for the first wait.
    #[default]
    Untried,
    Uring(Box<Sleeper>),
    /// And why not by io_uring.
    Poll(io::Error),
}

impl Waiter {
    /// Waits until one of these is readable or hung up, at most for `most`; says of each, in their order,
    /// whether it is. It may end early with none.
    ///
    /// Each has a name, which is its own for good: a number that was another descriptor's before names the
    /// wrong one. What was there in the last wait and is not now, is forgotten; it may have been closed
    /// meanwhile.
    ///
    /// # Errors
    /// What poll says, other than that a signal came.
    pub fn wait(
        &mut self,
        what: &[(u64, BorrowedFd<'_>)],
        most: Duration,
    ) -> io::Result<Vec<bool>> {
        if matches!(self.by, By::Untried) {
            self.by = Sleeper::new().map_or_else(By::Poll, |sleeper| By::Uring(Box::new(sleeper)));
        }
        if let By::Uring(sleeper) = &mut self.by {
            match sleep(sleeper, &mut self.watched, what, most) {
                Ok(heard) => return Ok(heard),
                Err(error) => self.by = By::Poll(error),
            }
        }
        poll_once(what, most)
    }

    /// Why this waits by poll; `None` while it waits by io_uring, or has not waited yet.
    pub fn denied(&self) -> Option<&io::Error> {
        match &self.by {
            By::Poll(error) => Some(error),
            By::Untried | By::Uring(_) => None,
        }
    }
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let watched = self.watched.len();
        f.debug_struct("Waiter").field("watched", &watched).field("denied", &self.denied()).finish()
    }
}

fn sleep(
    sleeper: &mut Sleeper,
    watched: &mut Vec<(u64, Watch)>,
    what: &[(u64, BorrowedFd<'_>)],
    most: Duration,
) -> io::Result<Vec<bool>> {
    let gone = watched.extract_if(.., |(name, _)| what.iter().all(|(other, _)| other != name));
    for (_, watch) in gone.collect::<Vec<_>>() {
        sleeper.forget(watch)?;
    }
    for (name, fd) in what {
        if watched.iter().all(|(known, _)| known != name) {
            watched.push((*name, sleeper.watch(fd.as_raw_fd())));
        }
    }
    sleeper.sleep(most)?;
    let mut fired = |name| {
        let known = watched.iter().find(|(known, _)| *known == name);
        known.is_some_and(|(_, watch)| sleeper.take_fired(*watch))
    };
    Ok(what.iter().map(|(name, _)| fired(*name)).collect())
}

fn poll_once(what: &[(u64, BorrowedFd<'_>)], most: Duration) -> io::Result<Vec<bool>> {
    let mut fds: Vec<PollFd<'_>> =
        what.iter().map(|(_, fd)| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    // Rounded up to whole milliseconds: a short wait is still a wait.
    let millis = most.as_micros().div_ceil(1000);
    let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
    match poll(&mut fds, timeout) {
        Ok(_) => Ok(fds.iter().map(|fd| fd.any().unwrap_or(true)).collect()),
        Err(Errno::EINTR) => Ok(vec![false; what.len()]),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::eventfd::EventFd;
    use std::os::fd::{AsFd as _, OwnedFd};
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(5);

    /// One that waits by io_uring, where this machine has it, and one that was denied it.
    fn both() -> [Waiter; 2] {
        let denied = By::Poll(io::Error::from(io::ErrorKind::PermissionDenied));
        [Waiter::default(), Waiter { by: denied, watched: Vec::new() }]
    }

    #[test]
    fn what_is_readable_is_named_and_time_passes_otherwise() {
        for mut waiter in both() {
            let events = [EventFd::new().unwrap(), EventFd::new().unwrap()];
            let what = [(7, events[0].as_fd()), (9, events[1].as_fd())];
            assert_eq!(waiter.wait(&what, SHORT).unwrap(), [false, false]);
            events[1].write(1).unwrap();
            let start = Instant::now();
            assert_eq!(waiter.wait(&what, LONG).unwrap(), [false, true]);
            // It was not read.
            assert_eq!(waiter.wait(&what, LONG).unwrap(), [false, true]);
            assert!(start.elapsed() < LONG);
        }
    }

    #[test]
    fn what_is_waited_for_no_longer_wakes_nobody_nor_speaks_for_its_successor() {
        for mut waiter in both() {
            let kept = EventFd::new().unwrap();
            let mut old = OwnedFd::from(EventFd::new().unwrap());
            let what = [(1, kept.as_fd()), (2, old.as_fd())];
            assert_eq!(waiter.wait(&what, SHORT).unwrap(), [false, false]);
            nix::unistd::write(&old, &1_u64.to_ne_bytes()).unwrap();
            // The same number, and another file behind it.
            let new = EventFd::new().unwrap();
            nix::unistd::dup2(&new, &mut old).unwrap();
            let what = [(1, kept.as_fd()), (3, old.as_fd())];
            // That the other is forgotten may end a wait or two early.
            for _ in 0..3 {
                assert_eq!(waiter.wait(&what, SHORT).unwrap(), [false, false]);
            }
            new.write(1).unwrap();
            let heard = (0..3).any(|_| waiter.wait(&what, LONG).unwrap() == [false, true]);
            assert!(heard);
        }
    }

    #[test]
    fn who_is_denied_io_uring_waits_by_poll_and_can_say_why() {
        let [_, mut denied] = both();
        assert_eq!(denied.wait(&[], SHORT).unwrap(), [] as [bool; 0]);
        assert!(denied.denied().is_some());
    }
}
