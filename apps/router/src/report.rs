//! What a run came to: a table for people, one object for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::adapters::AdapterStatistics;

/// What one interface's adapter did. Packets, unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InterfaceReport {
    /// How packets came in.
    pub mode: String,
    /// Taken from the wire.
    pub received: u64,
    /// Put on the wire.
    pub transmitted: u64,
    /// Put on the wire for another adapter.
    pub forwarded: u64,
    /// Given to the kernel.
    pub to_kernel: u64,
    /// Dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// System calls for this wire.
    pub syscalls: u64,
    /// How often a model in real time left time out, for want of the machine's.
    pub late: u64,
    /// How much time that was.
    pub left_out_seconds: f64,
}

/// The report: the JSON object's fields, in its order. Packets, unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How packets came in, by interface.
    pub mode: BTreeMap<String, String>,
    /// Forwarded by the adapters.
    pub forwarded: u64,
    /// Given to the kernel by the adapters; what the classifier left to it never came here.
    pub to_kernel: u64,
    /// The same by reason.
    pub to_kernel_reasons: BTreeMap<String, u64>,
    /// Dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Taken from all wires.
    pub received: u64,
    /// Put on all wires.
    pub transmitted: u64,
    /// By interface.
    pub interfaces: BTreeMap<String, InterfaceReport>,
    /// From "ready" to the end.
    pub duration_seconds: f64,
    /// System calls of the adapters' loops, sleeping and waking included.
    pub syscalls: u64,
    /// What the classifier did with packets, by reason; all but "claimed" were the kernel's at once.
    pub classifier: BTreeMap<String, u64>,
    /// The most prefixes at a time that the table had no room for, and that were the kernel's.
    pub unrepresented: usize,
    /// What kept packets from the adapters at some time, and how many, as far as they were counted apart: what is kept of a
    /// whole interface is in `classifier` alone.
    pub kept: BTreeMap<String, u64>,
}

impl Report {
    /// Adds up what the adapters counted; `processor_syscalls` are those no single wire made.
    pub fn new(
        adapters: &[(String, AdapterStatistics)],
        processor_syscalls: u64,
        duration: Duration,
        kept: BTreeMap<String, u64>,
    ) -> Self {
        let mut report = Self {
            mode: BTreeMap::new(),
            forwarded: 0,
            to_kernel: 0,
            to_kernel_reasons: BTreeMap::new(),
            dropped: BTreeMap::new(),
            received: 0,
            transmitted: 0,
            interfaces: BTreeMap::new(),
            duration_seconds: duration.as_secs_f64(),
            syscalls: processor_syscalls,
            classifier: BTreeMap::new(),
            unrepresented: 0,
            kept,
        };
        for (name, counted) in adapters {
            report.add(name, counted);
        }
        report
    }

    /// The JSON object.
    ///
    /// # Panics
    /// Never: the fields are numbers and text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and text")
    }

    fn add(&mut self, name: &str, counted: &AdapterStatistics) {
        let by_name = |counts: &BTreeMap<spine_abi::Reason, u64>| -> BTreeMap<String, u64> {
            counts.iter().map(|(reason, count)| (reason.name().to_owned(), *count)).collect()
        };
        let interface = InterfaceReport {
            mode: counted.mode.clone(),
            received: counted.received,
            transmitted: counted.transmitted,
            forwarded: counted.forwarded,
            to_kernel: counted.to_kernel.values().sum(),
            dropped: by_name(&counted.dropped),
            syscalls: counted.syscalls,
            late: counted.late,
            left_out_seconds: counted.left_out.as_secs_f64(),
        };
        self.mode.insert(name.to_owned(), interface.mode.clone());
        self.forwarded += interface.forwarded;
        self.to_kernel += interface.to_kernel;
        self.received += interface.received;
        self.transmitted += interface.transmitted;
        self.syscalls += interface.syscalls;
        for (reason, count) in by_name(&counted.to_kernel) {
            *self.to_kernel_reasons.entry(reason).or_default() += count;
        }
        for (reason, count) in &interface.dropped {
            *self.dropped.entry(reason.clone()).or_default() += count;
        }
        self.interfaces.insert(name.to_owned(), interface);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            self.interfaces.keys().map(String::len).max().unwrap_or(0).max("interface".len());
        let modes = self.interfaces.values().map(|line| line.mode.len()).max().unwrap_or(0).max(16);
        writeln!(
            f,
            "{:width$}  {:modes$}  {:>12}  {:>12}  {:>12}  {:>12}  {:>12}",
            "interface", "mode", "received", "transmitted", "forwarded", "to kernel", "dropped"
        )?;
        for (name, line) in &self.interfaces {
            let dropped: u64 = line.dropped.values().sum();
            writeln!(
                f,
                "{name:width$}  {:modes$}  {:>12}  {:>12}  {:>12}  {:>12}  {dropped:>12}",
                line.mode, line.received, line.transmitted, line.forwarded, line.to_kernel
            )?;
        }
        for (title, counts) in [("to kernel", &self.to_kernel_reasons), ("dropped", &self.dropped)]
        {
            for (reason, count) in counts {
                writeln!(f, "{title}: {reason} {count}")?;
            }
        }
        if self.unrepresented > 0 {
            writeln!(f, "prefixes the table had no room for: {}", self.unrepresented)?;
        }
        for (name, line) in self.interfaces.iter().filter(|(_, line)| line.late > 0) {
            writeln!(
                f,
                "{name}: the model left out time, for want of the machine's: {} times, {:.3} s",
                line.late, line.left_out_seconds
            )?;
        }
        for (why, count) in &self.kept {
            match count {
                0 => writeln!(f, "left to the kernel: {why}")?,
                count => writeln!(f, "left to the kernel: {count} packets, {why}")?,
            }
        }
        write!(
            f,
            "{} packets forwarded in {:.1} s with {} system calls",
            self.forwarded, self.duration_seconds, self.syscalls
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spine_abi::Reason;

    fn report() -> Report {
        let left = AdapterStatistics {
            mode: "copy".to_owned(),
            received: 10,
            transmitted: 3,
            forwarded: 3,
            to_kernel: BTreeMap::from([(Reason::NoRoute, 1), (Reason::TooBig, 1)]),
            dropped: BTreeMap::from([(Reason::BadChecksum, 2)]),
            syscalls: 5,
            late: 0,
            left_out: Duration::ZERO,
        };
        let right = AdapterStatistics {
            mode: "copy".to_owned(),
            received: 4,
            transmitted: 6,
            forwarded: 6,
            dropped: BTreeMap::from([(Reason::BadChecksum, 1), (Reason::PeerFull, 1)]),
            syscalls: 2,
            late: 4,
            left_out: Duration::from_millis(250),
            ..AdapterStatistics::default()
        };
        let adapters = [("left".to_owned(), left), ("right".to_owned(), right)];
        let kept = BTreeMap::from([("a rule".to_owned(), 5), ("a setting".to_owned(), 0)]);
        let report = Report::new(&adapters, 100, Duration::from_millis(2500), kept);
        Report { unrepresented: 7, ..report }
    }

    #[test]
    fn the_object_has_the_sums_and_the_parts() {
        let json = serde_json::to_value(report()).expect("plain data");
        for (pointer, expected) in [
            ("/mode/left", serde_json::json!("copy")),
            ("/forwarded", serde_json::json!(9)),
            ("/to_kernel", serde_json::json!(2)),
            ("/to_kernel_reasons/no_route", serde_json::json!(1)),
            ("/dropped/bad_checksum", serde_json::json!(3)),
            ("/dropped/peer_ring_full", serde_json::json!(1)),
            ("/received", serde_json::json!(14)),
            ("/transmitted", serde_json::json!(9)),
            ("/interfaces/left/to_kernel", serde_json::json!(2)),
            ("/duration_seconds", serde_json::json!(2.5)),
            ("/unrepresented", serde_json::json!(7)),
            ("/interfaces/right/late", serde_json::json!(4)),
            ("/interfaces/right/left_out_seconds", serde_json::json!(0.25)),
            ("/syscalls", serde_json::json!(107)),
            ("/kept/a rule", serde_json::json!(5)),
        ] {
            assert_eq!(json.pointer(pointer), Some(&expected), "{pointer}");
        }
    }

    #[test]
    fn the_table_shows_each_interface_and_each_reason() {
        let text = report().to_string();
        for line in [
            "left       copy                        10             3             3             2             2",
            "to kernel: too_big 1",
            "dropped: bad_checksum 3",
            "prefixes the table had no room for: 7",
            "right: the model left out time, for want of the machine's: 4 times, 0.250 s",
            "left to the kernel: 5 packets, a rule",
            "left to the kernel: a setting",
            "9 packets forwarded in 2.5 s with 107 system calls",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} in\n{text}");
        }
    }
}
