//! The scheduling policy of the linker's process: no library we have sets one.
#![allow(unsafe_code, reason = "sched_setscheduler is a bare system call")]

use std::io;

/// Has this process run only while its core is idle, or as a batch job.
///
/// # Errors
/// What the kernel says.
pub(super) fn give_way(only_when_idle: bool) -> io::Result<()> {
    let policy = if only_when_idle { libc::SCHED_IDLE } else { libc::SCHED_BATCH };
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads a `sched_param` that lives until the call returns, and changes nothing of ours but
    // when this process (0) runs.
    let set = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
