//! Sleeping: one io_uring wait over everything that can wake a processor.
#![allow(unsafe_code, reason = "io_uring submissions refer to file descriptors and memory")]

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use io_uring::{IoUring, opcode, types};

/// Waits until one of several file descriptors is readable, or a time has passed.
///
/// A poll stays armed until it fires, so a sleep costs one system call however many there are.
pub(super) struct Sleeper {
    ring: IoUring,
    fds: Vec<RawFd>,
    armed: Vec<bool>,
    first_fired: bool,
}

impl Sleeper {
    /// A sleeper over these descriptors, which must stay open as long as it lives.
    ///
    /// # Errors
    /// What io_uring_setup says.
    pub(super) fn new(fds: Vec<RawFd>) -> io::Result<Self> {
        let entries = u32::try_from(fds.len().next_power_of_two()).unwrap_or(u32::MAX);
        let ring = IoUring::new(entries).map_err(|error| {
            let why =
                "no io_uring to sleep in (is kernel.io_uring_disabled set, or a filter in place?)";
            io::Error::new(error.kind(), format!("{why}: {error}"))
        })?;
        let armed = vec![false; fds.len()];
        Ok(Self { ring, fds, armed, first_fired: false })
    }

    /// Sleeps until something is readable, at most for `most`; says whether the first descriptor was.
    ///
    /// # Errors
    /// What io_uring_enter says, other than that time is up or a signal came.
    pub(super) fn sleep(&mut self, most: Duration) -> io::Result<bool> {
        self.collect();
        self.arm()?;
        let timeout = types::Timespec::from(most);
        let args = types::SubmitArgs::new().timespec(&timeout);
        let result = self.ring.submitter().submit_with_args(1, &args);
        self.collect();
        match result {
            Ok(_) => Ok(std::mem::take(&mut self.first_fired)),
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY) => {
                    Ok(std::mem::take(&mut self.first_fired))
                }
                _ => Err(error),
            },
        }
    }

    fn arm(&mut self) -> io::Result<()> {
        for (index, fd) in self.fds.iter().enumerate().filter(|(index, _)| !self.armed[*index]) {
            let poll = opcode::PollAdd::new(types::Fd(*fd), libc::POLLIN.cast_unsigned().into())
                .build()
                .user_data(index as u64);
            // SAFETY: a poll refers to no memory, and to a descriptor that the processor keeps open
            // as long as this ring lives.
            unsafe { self.ring.submission().push(&poll) }
                .map_err(|_| io::Error::other("too many descriptors to sleep on"))?;
        }
        self.armed.fill(true);
        Ok(())
    }

    fn collect(&mut self) {
        for entry in self.ring.completion() {
            let index = usize::try_from(entry.user_data()).unwrap_or(usize::MAX);
            if let Some(armed) = self.armed.get_mut(index) {
                *armed = false;
                self.first_fired |= index == 0;
            }
        }
    }
}
