//! Sleeping: one io_uring wait over everything that can wake a thread.
//!
//! A poll stays armed until it fires, so a sleep is one system call however many descriptors are watched;
//! watching and forgetting cost none of their own.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use io_uring::{IoUring, types};

use crate::sys;

/// Waits until one of several file descriptors is readable, or a time has passed.
pub struct Sleeper {
    ring: IoUring,
    watched: Vec<Place>,
}

/// A descriptor that is watched, until it is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch(usize);

#[derive(Debug, Default)]
struct Place {
    fd: Option<RawFd>,
    armed: bool,
    fired: bool,
    /// Tells what is watched here now from what was: a late completion of that is not for this.
    generation: u32,
}

/// Requests queued between two sleeps; more are submitted as they come.
const ENTRIES: u32 = 64;
/// The name of completions that say nothing.
const NOBODY: u64 = u64::MAX;

impl Sleeper {
    /// A sleeper that nothing wakes but time.
    ///
    /// # Errors
    /// What io_uring_setup says.
    pub fn new() -> io::Result<Self> {
        let ring = IoUring::new(ENTRIES).map_err(|error| {
            let why =
                "no io_uring to sleep in (is kernel.io_uring_disabled set, or a filter in place?)";
            io::Error::new(error.kind(), format!("{why}: {error}"))
        })?;
        Ok(Self { ring, watched: Vec::new() })
    }

    /// Lets a descriptor end sleeps. It must stay open until it is [forgotten](Self::forget).
    pub fn watch(&mut self, fd: RawFd) -> Watch {
        let free = self.watched.iter().position(|place| place.fd.is_none());
        let index = free.unwrap_or(self.watched.len());
        if free.is_none() {
            self.watched.push(Place::default());
        }
        self.watched[index].fd = Some(fd);
        Watch(index)
    }

    /// Watches a descriptor no longer.
    ///
    /// # Errors
    /// What io_uring_enter says.
    pub fn forget(&mut self, watch: Watch) -> io::Result<()> {
        let Some(place) = self.watched.get_mut(watch.0) else { return Ok(()) };
        let name = name(watch.0, place.generation);
        let armed = place.armed;
        *place = Place { generation: place.generation.wrapping_add(1), ..Place::default() };
        if armed { sys::submit_forget(&mut self.ring, name, NOBODY) } else { Ok(()) }
    }

    /// Whether a descriptor has become readable since this was asked last. It is watched again from the
    /// next sleep on.
    pub fn take_fired(&mut self, watch: Watch) -> bool {
        self.watched.get_mut(watch.0).is_some_and(|place| std::mem::take(&mut place.fired))
    }

    /// Sleeps until something is readable, at most for `most`.
    ///
    /// # Errors
    /// What io_uring_enter says, other than that time is up or a signal came.
    pub fn sleep(&mut self, most: Duration) -> io::Result<()> {
        self.collect();
        self.arm()?;
        let timeout = types::Timespec::from(most);
        let args = types::SubmitArgs::new().timespec(&timeout);
        let result = self.ring.submitter().submit_with_args(1, &args);
        self.collect();
        match result {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY) => Ok(()),
                _ => Err(error),
            },
        }
    }

    fn arm(&mut self) -> io::Result<()> {
        for (index, place) in self.watched.iter_mut().enumerate() {
            let Some(fd) = place.fd.filter(|_| !place.armed) else { continue };
            sys::submit_poll(&mut self.ring, fd, name(index, place.generation))?;
            place.armed = true;
        }
        Ok(())
    }

    fn collect(&mut self) {
        for entry in self.ring.completion() {
            let index = usize::try_from(entry.user_data() & 0xffff_ffff).unwrap_or(usize::MAX);
            if let Some(place) = self.watched.get_mut(index)
                && name(index, place.generation) == entry.user_data()
            {
                place.armed = false;
                place.fired = true;
            }
        }
    }
}

/// The name of a poll: 32 bits of place, 32 of generation.
fn name(index: usize, generation: u32) -> u64 {
    index as u64 | u64::from(generation) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::eventfd::EventFd;
    use std::os::fd::{AsFd, AsRawFd};
    use std::time::Instant;

    fn event() -> (EventFd, RawFd) {
        let event = EventFd::new().unwrap();
        let fd = event.as_fd().as_raw_fd();
        (event, fd)
    }

    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(5);

    #[test]
    fn what_is_readable_ends_the_sleep_and_is_named() {
        let mut sleeper = Sleeper::new().unwrap();
        let ((one, fd), (_other, silent)) = (event(), event());
        let (first, second) = (sleeper.watch(fd), sleeper.watch(silent));
        one.write(1).unwrap();
        let start = Instant::now();
        sleeper.sleep(LONG).unwrap();
        assert!(start.elapsed() < LONG);
        assert!(sleeper.take_fired(first) && !sleeper.take_fired(second));
        assert!(!sleeper.take_fired(first), "told once");
        // It was not read, so it fires again.
        sleeper.sleep(LONG).unwrap();
        assert!(sleeper.take_fired(first));
    }

    #[test]
    fn what_is_forgotten_wakes_nobody_nor_speaks_for_its_successor() {
        let mut sleeper = Sleeper::new().unwrap();
        let ((old, old_fd), (_new, new_fd)) = (event(), event());
        let watch = sleeper.watch(old_fd);
        sleeper.sleep(SHORT).unwrap();
        sleeper.forget(watch).unwrap();
        old.write(1).unwrap();
        let watch = sleeper.watch(new_fd);
        // The removal itself may end a sleep or two early.
        for _ in 0..3 {
            sleeper.sleep(SHORT).unwrap();
            assert!(!sleeper.take_fired(watch));
        }
    }

    #[test]
    fn more_descriptors_than_the_queue_holds_are_watched() {
        let mut sleeper = Sleeper::new().unwrap();
        let events: Vec<_> = (0..3 * ENTRIES).map(|_| event()).collect();
        let watches: Vec<_> = events.iter().map(|(_, fd)| sleeper.watch(*fd)).collect();
        sleeper.sleep(SHORT).unwrap();
        for ((event, _), watch) in events.iter().zip(&watches) {
            event.write(1).unwrap();
            sleeper.sleep(LONG).unwrap();
            assert!(sleeper.take_fired(*watch));
            event.read().unwrap();
        }
    }
}
