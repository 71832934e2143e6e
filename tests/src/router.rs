//! `spine-router`, running in a namespace.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;

use crate::namespace::Namespace;
use crate::process::{Finished, Running};
use crate::program;

/// Reading a full table and compiling the extension may take a while on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Milliseconds that packets wait for an adapter in tests that are not about that.
const PATIENT: &str = "2000";

/// A router that forwards. Dropped, it is killed.
#[derive(Debug)]
pub struct Router {
    running: Running,
}

impl Router {
    /// Starts a router on these interfaces, and waits until it says "ready".
    pub fn start(namespace: &Namespace, interfaces: &[&str]) -> Self {
        Self::start_with(namespace, interfaces, &[])
    }

    /// The same with more options.
    pub fn start_with(namespace: &Namespace, interfaces: &[&str], options: &[&str]) -> Self {
        Self::start_program(binary(), namespace, interfaces, options)
    }

    /// The same with a program of one's own choice.
    pub fn start_program(
        program: &Path,
        namespace: &Namespace,
        interfaces: &[&str],
        options: &[&str],
    ) -> Self {
        let mut running = Running::start(command(program, namespace, interfaces, options));
        running.wait_for("ready", PATIENCE);
        Self { running }
    }

    /// Stops it as Ctrl-C does, and returns what it says it did.
    pub fn stop(self) -> Report {
        self.running.signal(Signal::SIGINT);
        let finished = self.running.finish(Duration::from_secs(10)).expect_success("spine-router");
        Report::parse(&finished.stdout)
    }

    /// Waits for it to end by itself, and returns what it said.
    pub fn ends(self, patience: Duration) -> Finished {
        self.running.finish(patience)
    }

    /// Kills it, as a crash would, and returns when it is gone.
    pub fn kill(self) {
        self.running.signal(Signal::SIGKILL);
        let _ = self.running.finish(Duration::from_secs(10));
    }

    /// Waits until it says `text` on stderr.
    pub fn wait_for(&mut self, text: &str, patience: Duration) -> String {
        self.running.wait_for(text, patience)
    }

    /// What it said on stderr until it was last waited for.
    pub fn said(&self) -> &[String] {
        self.running.said()
    }

    /// The process.
    pub fn pid(&self) -> Pid {
        self.running.pid()
    }

    /// Processor time used so far.
    pub fn processor_time(&self) -> Duration {
        self.running.processor_time()
    }
}

/// Runs a router that is expected to end by itself.
pub fn run_to_end(namespace: &Namespace, interfaces: &[&str], options: &[&str]) -> Finished {
    Running::start(command(binary(), namespace, interfaces, options)).finish(PATIENCE)
}

fn command(
    program: &Path,
    namespace: &Namespace,
    interfaces: &[&str],
    options: &[&str],
) -> Command {
    let mut arguments = vec!["--json"];
    for interface in interfaces {
        arguments.extend(["--iface", interface]);
    }
    arguments.extend(options);
    // Every test can be tried on another kind of wire, and in another mode.
    let nic = std::env::var("SPINE_NIC").ok().filter(|_| !options.contains(&"--nic"));
    if let Some(nic) = &nic {
        arguments.extend(["--nic", nic]);
    }
    // What a test counts must not depend on how soon a busy machine lets an adapter run; tests of that say so themselves.
    if !options.contains(&"--stuck-after") {
        arguments.extend(["--stuck-after", PATIENT]);
    }
    let mode = std::env::var("SPINE_XDP_MODE").ok().filter(|_| !options.contains(&"--xdp-mode"));
    if let Some(mode) = &mode {
        arguments.extend(["--xdp-mode", mode]);
    }
    namespace.command(&program.to_string_lossy(), &arguments)
}

/// The program: `SPINE_ROUTER`, or the one built beside this test.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| program::built("spine-router", "SPINE_ROUTER"))
}

/// The object that `spine-router --json` ends with.
#[derive(Debug, Clone)]
pub struct Report {
    value: Value,
}

impl Report {
    /// Reads it; panics if it is not one JSON object.
    pub fn parse(text: &str) -> Self {
        let value: Value = serde_json::from_str(text)
            .unwrap_or_else(|error| panic!("spine-router --json: {error}: {text:?}"));
        assert!(value.is_object(), "spine-router --json: not an object: {text:?}");
        Self { value }
    }

    /// A count at the top of the object.
    pub fn count(&self, key: &str) -> u64 {
        self.value[key].as_u64().unwrap_or_else(|| panic!("no count {key:?} in {}", self.value))
    }

    /// Packets that the adapters forwarded.
    pub fn forwarded(&self) -> u64 {
        self.count("forwarded")
    }

    /// Packets that were handed to the kernel.
    pub fn to_kernel(&self) -> u64 {
        self.count("to_kernel")
    }

    /// Packets dropped, by reason; reasons that never occurred may be missing.
    pub fn dropped(&self) -> BTreeMap<String, u64> {
        self.counts("dropped")
    }

    /// An object of counts.
    pub fn counts(&self, key: &str) -> BTreeMap<String, u64> {
        let counts = self.value[key]
            .as_object()
            .unwrap_or_else(|| panic!("no object {key:?} in {}", self.value));
        counts
            .iter()
            .map(|(name, count)| {
                let count = count.as_u64().unwrap_or_else(|| panic!("{key}: {name}: {count}"));
                (name.clone(), count)
            })
            .collect()
    }

    /// All packets dropped.
    pub fn dropped_in_all(&self) -> u64 {
        self.dropped().values().sum()
    }

    /// How packets reach an interface's adapter.
    pub fn mode(&self, interface: &str) -> String {
        self.value["mode"][interface]
            .as_str()
            .unwrap_or_else(|| panic!("no mode of {interface} in {}", self.value))
            .to_owned()
    }

    /// How often the model of an interface's card left time out.
    pub fn late(&self, interface: &str) -> u64 {
        let late = &self.value["interfaces"][interface]["late"];
        late.as_u64().unwrap_or_else(|| panic!("no count of {interface} in {}", self.value))
    }

    /// How much time the model on an interface left out.
    pub fn left_out(&self, interface: &str) -> Duration {
        let seconds = &self.value["interfaces"][interface]["left_out_seconds"];
        let seconds = seconds.as_f64().and_then(|s| Duration::try_from_secs_f64(s).ok());
        seconds.unwrap_or_else(|| panic!("no time of {interface} in {}", self.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"{"mode":{"left":"copy"},"forwarded":7,"to_kernel":1,
        "dropped":{"martian":2,"truncated":3},"received":13,"transmitted":7}"#;

    #[test]
    fn a_report_has_counts_modes_and_reasons() {
        let report = Report::parse(EXAMPLE);
        assert_eq!((report.forwarded(), report.to_kernel()), (7, 1));
        assert_eq!(report.dropped_in_all(), 5);
        assert_eq!(report.mode("left"), "copy");
    }

    #[test]
    #[should_panic(expected = "no count \"bytes\"")]
    fn a_count_that_is_missing_is_named() {
        Report::parse(EXAMPLE).count("bytes");
    }
}
