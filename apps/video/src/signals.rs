//! SIGINT and SIGTERM as something to look at, and to wait for.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Signals that ask for the end; blocked in this thread and in all threads made from it.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// To be called before there are other threads.
    ///
    /// # Errors
    /// What the system says.
    pub fn new() -> nix::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.add(Signal::SIGTERM);
        set.thread_block()?;
        Ok(Self(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?))
    }

    /// Whether one has come.
    pub fn came(&self) -> bool {
        self.0.read_signal().is_ok_and(|signal| signal.is_some())
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
