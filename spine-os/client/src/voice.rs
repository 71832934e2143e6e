//! What a program says on standard error, which it neither ends for nor waits for.
//!
//! Who reads that may be gone (`2>&1 | head`), its disk full, its pipe full for as long as somebody has a pager open. `eprintln!` panics in
//! the first two cases and waits in the third, and a program that moves other people's packets may do neither. So a line is
//! written where there is room for it, lost where there is none, and the next one that is written says how many were.
//!
//! No thread and no queue: a thread would have to be there before a program gives up its privileges, and keep them. So
//! a file on a disk that does not answer is waited for all the same.

use std::fmt::Display;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What a pipe takes as a whole when it has room at all: PIPE_BUF, a page.
const WHOLE: usize = 4096;

static STDERR: Voice = Voice { lost: AtomicU64::new(0) };

/// Says a line for people on standard error.
pub fn say(line: impl Display) {
    STDERR.say(io::stderr().as_fd(), format!("{line}\n").as_bytes());
}

/// Standard error for whoever writes whole lines, as a logger does. Never an error: a logger would want to say so.
#[derive(Debug, Clone, Copy, Default)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        STDERR.say(io::stderr().as_fd(), line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Voice {
    /// Lines that nobody took since the last that somebody did.
    lost: AtomicU64,
}

impl Voice {
    fn say(&self, to: impl AsFd, line: &[u8]) {
        let lost = self.lost.load(Ordering::Relaxed);
        let note = match lost {
            0 => String::new(),
            lost => format!("({lost} lines were lost here: nobody took them)\n"),
        };
        if write(&to, &[note.as_bytes(), line].concat()) {
            self.lost.fetch_sub(lost, Ordering::Relaxed);
        } else {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes all of it without waiting; whether that was possible.
fn write(to: impl AsFd, bytes: &[u8]) -> bool {
    bytes.chunks(WHOLE).all(|piece| {
        has_room(&to)
            && matches!(rustix::io::write(&to, piece), Ok(written) if written == piece.len())
    })
}

fn has_room(to: impl AsFd) -> bool {
    let mut one = [PollFd::new(&to, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let ready = poll(&mut one, Some(&at_once));
    ready.is_ok() && one[0].revents().contains(PollFlags::OUT)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;

    use super::*;

    fn voice() -> Voice {
        Voice { lost: AtomicU64::new(0) }
    }

    #[test]
    fn nobody_there_is_no_reason_to_fail_and_a_full_disk_is_none() {
        let voice = voice();
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        voice.say(&writer, b"one\n");
        let full = File::options().write(true).open("/dev/full").unwrap();
        voice.say(&full, b"two\n");
        assert_eq!(voice.lost.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_full_pipe_is_not_waited_for_and_what_was_lost_is_said_to_whoever_reads_on() {
        let voice = voice();
        let (mut reader, writer) = io::pipe().unwrap();
        let line = [[b'x'; 99].as_slice(), b"\n"].concat();
        for _ in 0..2000 {
            voice.say(&writer, &line);
        }
        let lost = voice.lost.load(Ordering::Relaxed);
        assert!(lost > 0 && lost < 2000, "{lost}");
        let mut taken = vec![0; usize::try_from(2000 - lost).unwrap() * line.len()];
        reader.read_exact(&mut taken).unwrap();
        assert!(taken.chunks(line.len()).all(|taken| taken == line), "whole lines or none");
        voice.say(&writer, b"last\n");
        drop(writer);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, format!("({lost} lines were lost here: nobody took them)\nlast\n"));
        assert_eq!(voice.lost.load(Ordering::Relaxed), 0);
    }
}
