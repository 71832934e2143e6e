//! Asking for a table of the old iptables: `getsockopt` with an answer whose size the question says.
//!
//! Unsafe because no crate has these options, and the size of the answer is not that of a type.

#![allow(unsafe_code, reason = "a system call with a buffer")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Fills the buffer, which begins with the question, with the answer; how much of it that is.
pub(super) fn get_option(
    socket: BorrowedFd<'_>,
    level: i32,
    option: i32,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let mut length = libc::socklen_t::try_from(buffer.len())
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the buffer is ours alone for the call, and `length` says how long it is; the kernel writes no more than that and says
    // in `length` how much it wrote.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            buffer.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    match outcome {
        0 => Ok(usize::try_from(length).unwrap_or(0).min(buffer.len())),
        _ => Err(io::Error::last_os_error()),
    }
}
