//! How a client waits: it looks for a moment, and then sleeps in one wait over everything that
//! could wake it.
//!
//! What became readable in a sleep may have been read since, or be stale: each is looked at without
//! waiting.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use crate::{Client, ClientError};

/// How long a client looks for messages before it sleeps: the time in which an adapter that is
/// awake answers.
pub(crate) const MOMENT: Duration = Duration::from_micros(20);
/// What the connection is called among what is waited for; FIFOs have other numbers.
const CONNECTION: u64 = 0;

/// By what a client waits when it sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitBy {
    /// One io_uring wait, as its adapters do.
    IoUring,
    /// poll(2): this process was denied io_uring.
    Poll,
}

impl Client {
    /// By what this client waits; known once it has slept, and io_uring before.
    pub fn wait_by(&self) -> WaitBy {
        if self.waiter.denied().is_some() { WaitBy::Poll } else { WaitBy::IoUring }
    }

    /// Waits until something was kept, or until `end`; whether something was.
    pub(crate) fn wait(&mut self, end: Instant) -> Result<bool, ClientError> {
        let start = Instant::now();
        loop {
            if self.collect() {
                return Ok(true);
            }
            let now = Instant::now();
            if now >= end || now.duration_since(start) >= MOMENT {
                break;
            }
            std::hint::spin_loop();
        }
        loop {
            // Who sends from now on rings; what was sent before is seen.
            self.channels.doze();
            let some = self.collect();
            let closed = self.channels.newly_closed();
            if some || closed.is_some() {
                self.channels.wake(&[]);
                return closed.map_or(Ok(true), Err);
            }
            let before = self.waiting.len();
            let said = self.sleep(end)?;
            if self.collect() || self.waiting.len() > before {
                return Ok(true);
            }
            if !said && Instant::now() >= end {
                return Ok(false);
            }
        }
    }

    /// Sleeps until the daemon or an adapter has something to say, or until `end`, and takes in
    /// what the daemon says; whether it said something.
    fn sleep(&mut self, end: Instant) -> Result<bool, ClientError> {
        self.sleeps += 1;
        let left = end.saturating_duration_since(Instant::now());
        let before = self.wait_by();
        let mut what: Vec<(u64, BorrowedFd<'_>)> = vec![(CONNECTION, self.connection.as_fd())];
        what.extend(self.channels.descriptors());
        let heard = self.waiter.wait(&what, left)?;
        if let (WaitBy::IoUring, Some(why)) = (before, self.waiter.denied()) {
            tracing::info!(%why, "no io_uring for this client: it waits by poll");
        }
        let said = heard.first().copied().unwrap_or(false);
        self.channels.wake(heard.get(1..).unwrap_or_default());
        if !said {
            return Ok(false);
        }
        match self.hear(Duration::ZERO)? {
            Some((said, _)) => {
                self.note(said);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}
