//! ptrace(2), as far as it holds a thread and lets it go: the only unsafe code of this helper.
#![allow(unsafe_code, reason = "ptrace is a system call of raw pointers; none is given here")]

use std::io;
use std::ptr::null_mut;

use nix::libc;
use nix::unistd::Pid;

/// Becomes the tracer of a thread, which runs on.
pub(super) fn seize(thread: Pid) -> io::Result<()> {
    request(libc::PTRACE_SEIZE, thread)
}

/// Stops it.
pub(super) fn interrupt(thread: Pid) -> io::Result<()> {
    request(libc::PTRACE_INTERRUPT, thread)
}

/// Lets it run again, untraced.
pub(super) fn release(thread: Pid) -> io::Result<()> {
    request(libc::PTRACE_DETACH, thread)
}

fn request(request: libc::c_uint, thread: Pid) -> io::Result<()> {
    let nothing = null_mut::<libc::c_void>();
    // SAFETY: the three requests above read and write no memory of ours; address and data are zero, as they ask
    // for (no options, no signal).
    match unsafe { libc::ptrace(request, thread.as_raw(), nothing, nothing) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
