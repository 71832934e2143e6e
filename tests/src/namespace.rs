//! One network namespace: commands in it, sockets from it, its counters.

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use crate::process::{Finished, Running};

/// A named network namespace that exists.
#[derive(Debug, Clone)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    pub(crate) fn named(name: String) -> Self {
        Self { name }
    }

    /// The name that `ip netns` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `program` with `arguments`, to be run in here.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]).args(arguments);
        command
    }

    /// Runs a command line (split at spaces) to its end, which must be success, and returns its stdout.
    pub fn run(&self, line: &str) -> String {
        self.try_run(line, Duration::from_secs(60)).expect_success(line).stdout
    }

    /// Runs a command line to its end, however it ends.
    pub fn try_run(&self, line: &str, patience: Duration) -> Finished {
        self.spawn(line).finish(patience)
    }

    /// Starts a command line.
    pub fn spawn(&self, line: &str) -> Running {
        let mut words = line.split_whitespace();
        let program = words.next().unwrap_or_default();
        Running::start(self.command(program, &words.collect::<Vec<_>>()))
    }

    /// `ip` in this namespace, without the detour of `ip netns exec`: fast enough for what is timed.
    pub fn ip(&self, arguments: &str) -> String {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name]).args(arguments.split_whitespace());
        Running::start(command)
            .finish(Duration::from_secs(10))
            .expect_success(&format!("{}: ip {arguments}", self.name))
            .stdout
    }

    /// Sets a value below `/proc/sys/net`, named by its path (`ipv4/ip_forward`).
    pub fn sysctl(&self, path: &str, value: &str) {
        let path = format!("/proc/sys/net/{path}");
        self.inside(|| std::fs::write(&path, value))
            .unwrap_or_else(|error| panic!("{}: {path}: {error}", self.name));
    }

    /// Does `work` in a thread that has entered this namespace. What it opens stays of this namespace.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                let path = format!("/run/netns/{}", self.name);
                let file = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
                setns(file, CloneFlags::CLONE_NEWNET)
                    .unwrap_or_else(|error| panic!("{path}: {error}"));
                work()
            });
            entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Packets that the kernel has forwarded (`Ip: ForwDatagrams` of `/proc/net/snmp`). The kernel counts
    /// a packet here before it looks whether it may go out, so this is an upper bound.
    pub fn kernel_forwarded(&self) -> u64 {
        self.snmp("Ip", "ForwDatagrams")
    }

    /// A counter of `/proc/net/snmp`: `group` is the start of the line, as in `Ip`, `Icmp`, `Tcp`.
    pub fn snmp(&self, group: &str, counter: &str) -> u64 {
        // The thread's own view: /proc/net belongs to the process's first thread.
        let text = self
            .inside(|| std::fs::read_to_string("/proc/thread-self/net/snmp"))
            .unwrap_or_else(|error| panic!("{}: snmp: {error}", self.name));
        let mut lines = text.lines().filter_map(|line| line.split_once(": "));
        let mut line_of = || lines.find(|(start, _)| *start == group).map(|(_, rest)| rest);
        let (Some(names), Some(values)) = (line_of(), line_of()) else {
            panic!("snmp has no {group}");
        };
        names
            .split_whitespace()
            .zip(values.split_whitespace())
            .find(|(name, _)| *name == counter)
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or_else(|| panic!("snmp has no {group}: {counter}"))
    }

    /// A counter of an interface (`rx_packets`, `tx_packets`, `tx_dropped` …).
    pub fn interface_counter(&self, interface: &str, counter: &str) -> u64 {
        let text = self.run(&format!("cat /sys/class/net/{interface}/statistics/{counter}"));
        text.trim().parse().unwrap_or_else(|_| panic!("{interface}: {counter}: {text:?}"))
    }
}
