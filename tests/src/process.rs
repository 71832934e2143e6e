//! A program that runs beside the test, and is never left behind.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long to wait where a test waits for `patience`: that much times `SPINE_TEST_PATIENCE`, for machines that are
/// many times slower than this one (emulated, for one). Patience is a bound and never what is tested.
pub fn patient(patience: Duration) -> Duration {
    let times = std::env::var("SPINE_TEST_PATIENCE").ok().and_then(|text| text.parse().ok());
    patience * times.unwrap_or(1)
}

/// A child whose output is collected; dropped while it runs, it is killed.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    out: Option<JoinHandle<String>>,
    errors: Receiver<String>,
    said: Vec<String>,
}

/// What a child left behind.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All it wrote to stdout.
    pub stdout: String,
    /// All it wrote to stderr.
    pub stderr: String,
}

impl Finished {
    /// Panics, with what the program said, unless it ended well.
    pub fn expect_success(self, what: &str) -> Self {
        assert!(
            self.status.success(),
            "{what}: {}\nstdout: {}\nstderr: {}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }
}

impl Running {
    /// Starts `command`, with no input.
    pub fn start(mut command: Command) -> Self {
        let name = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let out = child.stdout.take().map(|mut pipe| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                // What came before an error is still worth showing.
                let _ = pipe.read_to_end(&mut bytes);
                String::from_utf8_lossy(&bytes).into_owned()
            })
        });
        let (line_to, errors) = channel();
        if let Some(pipe) = child.stderr.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    if line_to.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Self { name, child, out, errors, said: Vec::new() }
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits until a line of stderr contains `text`, and returns the line; panics, with what was said,
    /// if the program ends first or `patience` does.
    pub fn wait_for(&mut self, text: &str, patience: Duration) -> String {
        let deadline = Instant::now() + patient(patience);
        loop {
            match self.errors.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!(
                    "{} did not say {text:?} within {patience:?}; it said: {:#?}",
                    self.name, self.said
                ),
                Err(RecvTimeoutError::Disconnected) => panic!(
                    "{} ended before it said {text:?} ({:?}); it said: {:#?}",
                    self.name,
                    self.child.wait(),
                    self.said
                ),
            }
        }
    }

    /// The lines of stderr up to the last one that was waited for.
    pub fn said(&self) -> &[String] {
        &self.said
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_else(|error| panic!("{}: {signal}: {error}", self.name));
    }

    /// True once it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Waits for its end, at most for `patience`; panics after that, killing it.
    pub fn finish(mut self, patience: Duration) -> Finished {
        let deadline = Instant::now() + patient(patience);
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                other => {
                    self.said.extend(self.errors.try_iter());
                    panic!(
                        "{} did not end within {patience:?} ({other:?}); it said: {:#?}",
                        self.name, self.said
                    );
                }
            }
        };
        self.said.extend(self.errors.iter());
        Finished {
            status,
            stdout: self.out.take().and_then(|out| out.join().ok()).unwrap_or_default(),
            stderr: self.said.join("\n"),
        }
    }

    /// Processor time used so far by all its threads.
    pub fn processor_time(&self) -> Duration {
        processor_time(self.pid())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail for a child that was waited for, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time of a process, from the scheduler's own count in nanoseconds; where the kernel has none,
/// from the clock ticks of `stat`.
pub fn processor_time(pid: Pid) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let nanoseconds: Option<u64> = tasks
        .map(|task| {
            let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum();
    match nanoseconds {
        Some(nanoseconds) if nanoseconds > 0 => Duration::from_nanos(nanoseconds),
        _ => clock_ticks(pid),
    }
}

/// User and system time of a process, in steps of a clock tick (10 ms).
fn clock_ticks(pid: Pid) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold spaces: fields are counted after it, from the state on.
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}
