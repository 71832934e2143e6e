//! Starting the linker's process, and believing nothing of what comes back.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec};
use spine_abi::interface::Domains;
use spine_abi::limits::IMAGE_BYTES;
use spine_client::daemon::file;
use spine_os::domain::Exports;

use super::{COMMAND, NOBODY, Room, exit};
use crate::mail::Bell;

/// How long it may take altogether; its processor time is limited by itself.
const PATIENCE: Duration = Duration::from_secs(40);
/// Bytes of a sentence that are passed on.
const SENTENCE: usize = 2000;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkerError {
    /// The module's fault.
    #[error("the extension is refused: {0}")]
    Refused(String),
    /// The process came to an end that it should not.
    #[error("the linker did not survive this extension: {0}")]
    Died(&'static str),
    /// It took too long.
    #[error("the linker took longer than {PATIENCE:?} for this extension")]
    Timeout,
    /// Its client has gone: the process was ended.
    #[error("nobody waits for this extension any more")]
    Nobody,
    /// What came is no image.
    #[error("the linker made nonsense of this extension: {0}")]
    Nonsense(&'static str),
    /// The process could not be started; nothing to do with the module.
    #[error("the linker's process cannot be run: {0}")]
    System(#[from] io::Error),
    /// It could not give up its privileges; nothing to do with the module.
    #[error("the linker's process cannot be run safely: {0}")]
    Unsafe(String),
}

/// A child that does not outlive this.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // Both fail for one that has been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Has a module linked against these domains of the runtime and of other extensions: what the linker's process says is its image.
/// When `gone` is rung nobody waits for it, and the process is ended.
///
/// # Errors
/// [`LinkerError`], one sentence.
pub(crate) fn link(
    wasm: &[u8],
    domains: Domains,
    exports: &Exports,
    room: &Room,
    gone: &Bell,
) -> Result<Vec<u8>, LinkerError> {
    let module = File::from(file::seal(&super::input(exports, wasm))?);
    let mut command = Command::new("/proc/self/exe");
    command.arg0("spined-linker").arg(COMMAND).arg(domains.0.to_string()).arg(room.word());
    // Setting a user as root also clears the other groups (std::os::unix::process::CommandExt::uid).
    command.env_clear().current_dir("/").gid(NOBODY).uid(NOBODY);
    command.stdin(module).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = Guarded(command.spawn()?);
    let end = Instant::now() + PATIENCE;
    let output = read_until(&mut child, end, gone)?;
    let status = wait_until(&mut child, end)?;
    judge(status, output)
}

/// All that the child writes, at most what an image may have.
fn read_until(child: &mut Guarded, end: Instant, gone: &Bell) -> Result<Vec<u8>, LinkerError> {
    let mut output = Vec::new();
    let Some(mut pipe) = child.0.stdout.take() else { return Ok(output) };
    let mut part = vec![0; 64 << 10];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut wait = [PollFd::new(&pipe, PollFlags::IN), PollFd::new(gone, PollFlags::IN)];
        if rustix::event::poll(&mut wait, Some(&left)).map_err(io::Error::from)? == 0 {
            return Err(LinkerError::Timeout);
        }
        if !wait[1].revents().is_empty() {
            return Err(LinkerError::Nobody);
        }
        let count = pipe.read(&mut part)?;
        output.extend_from_slice(part.get(..count).unwrap_or_default());
        if count == 0 {
            return Ok(output);
        }
        if output.len() > IMAGE_BYTES {
            return Err(LinkerError::Nonsense("it is larger than any image"));
        }
    }
}

fn wait_until(child: &mut Guarded, end: Instant) -> Result<ExitStatus, LinkerError> {
    loop {
        if let Some(status) = child.0.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= end {
            return Err(LinkerError::Timeout);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn judge(status: ExitStatus, output: Vec<u8>) -> Result<Vec<u8>, LinkerError> {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    match code {
        Some(exit::LINKED) => Ok(output),
        Some(exit::REFUSED) => Err(LinkerError::Refused(sentence(&output))),
        Some(exit::UNSAFE) => Err(LinkerError::Unsafe(sentence(&output))),
        _ => Err(LinkerError::Died(died(status))),
    }
}

/// The text of somebody who may have been taken over, fit for a terminal.
fn sentence(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output.get(..SENTENCE).unwrap_or(output)).into_owned();
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn died(status: ExitStatus) -> &'static str {
    match status.signal().and_then(|signal| Signal::try_from(signal).ok()) {
        Some(Signal::SIGSYS) => "it made a system call that it may not make",
        Some(Signal::SIGXCPU) => "its processor time was used up",
        Some(Signal::SIGKILL) => {
            "it was killed: its processor time or the machine's memory was used up"
        }
        Some(Signal::SIGABRT) => "it gave up: its memory was used up",
        Some(Signal::SIGSEGV | Signal::SIGBUS | Signal::SIGILL) => "it crashed",
        Some(_) => "a signal ended it",
        None => "it ended without a word",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_of_the_linkers_process_is_one_sentence() {
        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        let signalled = |signal: Signal| ExitStatus::from_raw(signal as i32);
        assert_eq!(judge(exited(0), vec![7]).ok(), Some(vec![7]));
        for (status, output, part) in [
            (exited(10), "no good\u{1b}[2J", "is refused: no good [2J"),
            (exited(11), "root", "cannot be run safely: root"),
            (exited(1), "", "without a word"),
            (exited(101), "", "without a word"),
            (signalled(Signal::SIGSYS), "", "a system call that it may not make"),
            (signalled(Signal::SIGXCPU), "", "processor time was used up"),
            (signalled(Signal::SIGKILL), "", "killed"),
            (signalled(Signal::SIGABRT), "", "memory was used up"),
            (signalled(Signal::SIGSEGV), "", "crashed"),
        ] {
            let error = judge(status, output.as_bytes().to_vec()).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains('\u{1b}'), "{error}");
        }
        let long = judge(exited(10), vec![b'x'; 100_000]).expect_err("refused").to_string();
        assert!(long.len() < 2 * SENTENCE, "cut");
    }
}
