//! A thread of another process, held still: what an adapter looks like whose processor is put aside.
//!
//! SIGSTOP stops whole processes; a tracer stops one thread, and lets it go again when it ends, however it ends.

mod sys;

use std::io;

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// A thread that does not run until this is dropped, by the thread that made it.
#[derive(Debug)]
pub struct Held {
    thread: Pid,
    // A thread is let go by who holds it.
    _here: std::marker::PhantomData<*const ()>,
}

impl Held {
    /// Holds the thread of a process that has this name.
    ///
    /// # Errors
    /// There is none, or tracing is forbidden here.
    pub fn thread(process: Pid, name: &str) -> io::Result<Self> {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task"))?;
        let named = tasks.flatten().find(|task| {
            std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
        });
        let number = named.and_then(|task| task.file_name().to_str()?.parse().ok());
        let thread = Pid::from_raw(number.ok_or(io::ErrorKind::NotFound)?);
        sys::seize(thread)?;
        let held = Self { thread, _here: std::marker::PhantomData };
        sys::interrupt(thread)?;
        waitpid(thread, Some(WaitPidFlag::__WALL))?;
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // It may have ended.
        let _ = sys::release(self.thread);
    }
}
