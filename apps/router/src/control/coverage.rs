//! Whose the packets are: how many of the routes and packets are the adapters', and what the kernel keeps, with the reason.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use spine_rules::Family;

use super::View;
use super::facts::Facts;
use super::listing::{InterfaceRow, interfaces_text};
use super::routes::RouteCount;
use super::text::{amount, columns, meaning, megabytes};
use crate::report::Report;

/// What the classifier counts that nobody would forward.
const NOT_TO_BE_FORWARDED: &[&str] =
    &["other_mac", "not_ipv4", "local", "routing_protocol", "special_address"];
/// Lines of a kind that are printed at most; all are in the JSON object.
const LINES: usize = 40;

/// How many packets were whose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketCount {
    /// Forwarded or dropped by the adapters.
    pub adapters: u64,
    /// All that came in on the router's interfaces and could have been for somebody else; while an interface is left to the kernel
    /// as a whole, all that came in there.
    pub all: u64,
}

/// A way between two interfaces that is the kernel's as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WayRow {
    /// The interface packets come in by.
    pub from: String,
    /// The one they leave by.
    pub to: String,
    /// What keeps them.
    pub why: Vec<String>,
}

/// Packets that are the kernel's of what comes in on an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRow {
    /// The interface.
    pub from: String,
    /// Which packets.
    pub packets: String,
    /// What keeps them.
    pub why: String,
}

/// Memory of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Resident bytes beside frames and tables: code, extensions, the mirror of the kernel's state.
    pub resident: u64,
    /// Bytes of all frames.
    pub frames: u64,
    /// Resident bytes that are shared between processes or mappings: frames, tables, FIFOs.
    pub shared: u64,
}

/// Whose the packets are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Coverage {
    /// The router's version.
    pub version: String,
    /// Its process.
    pub process: u32,
    /// How long it has been forwarding.
    pub up_seconds: f64,
    /// Its interfaces.
    pub interfaces: Vec<InterfaceRow>,
    /// Routes.
    pub routes: RouteCount,
    /// Packets.
    pub packets: PacketCount,
    /// Ways that are the kernel's as a whole.
    pub ways: Vec<WayRow>,
    /// Sets of packets that are the kernel's.
    pub sets: Vec<SetRow>,
    /// How many packets each rule or setting kept, as far as they are counted apart.
    pub kept: BTreeMap<String, u64>,
    /// How many packets were left to the kernel at once, by reason.
    pub left: BTreeMap<String, u64>,
    /// How many packets the adapters had and gave to the kernel, by reason.
    pub given: BTreeMap<String, u64>,
    /// How many packets were dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// What is forwarded past, as was asked for.
    pub bypassed: Vec<String>,
    /// What carrying packets past the kernel costs people.
    pub costs: Vec<String>,
    /// Memory.
    pub memory: Memory,
}

impl Coverage {
    /// All but the routes, which are counted by and by.
    pub(super) fn new(
        view: &View<'_>,
        report: &Report,
        interfaces: Vec<InterfaceRow>,
        facts: &dyn Facts,
    ) -> Self {
        let mut left = report.classifier.clone();
        left.remove("claimed");
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            up_seconds: report.duration_seconds,
            interfaces,
            routes: RouteCount::default(),
            packets: packets(report),
            ways: ways(view),
            sets: sets(view),
            kept: report.kept.clone(),
            left,
            given: report.to_kernel_reasons.clone(),
            dropped: report.dropped.clone(),
            bypassed: view.bypassed.iter().cloned().collect(),
            costs: view.noted.iter().cloned().collect(),
            memory: memory(facts),
        }
    }
}

fn packets(report: &Report) -> PacketCount {
    // Where nobody counts before the adapters, all there is to be counted came to them.
    let claimed = report.classifier.get("claimed").copied();
    let left = report.classifier.iter();
    let left: u64 = left
        .filter(|(name, _)| *name != "claimed" && !NOT_TO_BE_FORWARDED.contains(&name.as_str()))
        .map(|(_, count)| count)
        .sum();
    let came = claimed.unwrap_or(report.received);
    PacketCount { adapters: came.saturating_sub(report.to_kernel), all: came + left }
}

fn ways(view: &View<'_>) -> Vec<WayRow> {
    let count = view.names.len();
    let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
    let row = |(from, to): (usize, usize)| {
        let why: Vec<String> = view.ownership.why(from, to).map(str::to_owned).collect();
        let name = |at: usize| view.names[at].clone();
        (from != to && !why.is_empty()).then(|| WayRow { from: name(from), to: name(to), why })
    };
    pairs.filter_map(row).collect()
}

fn sets(view: &View<'_>) -> Vec<SetRow> {
    let of = |(at, name): (usize, &String)| {
        let parts = view.ownership.parts(at).iter();
        let row = |kept: &spine_rules::Kept| SetRow {
            from: name.clone(),
            packets: kept.packets.describe(Family::V4),
            why: kept.why.clone(),
        };
        parts.map(row).collect::<Vec<_>>()
    };
    view.names.iter().enumerate().flat_map(of).collect()
}

fn memory(facts: &dyn Facts) -> Memory {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.trim_start_matches(':').split_whitespace().next());
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    Memory {
        resident: (kilobytes("RssAnon") + kilobytes("RssFile")) * 1024,
        frames: facts.frame_bytes(),
        shared: kilobytes("RssShmem") * 1024,
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "spine-router {}, process {}, forwards since {:.0} s",
            self.version, self.process, self.up_seconds
        )?;
        for line in interfaces_text(&self.interfaces).lines() {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "by the adapters: {}", self.routes)?;
        let PacketCount { adapters, all } = self.packets;
        writeln!(f, "by the adapters: {} of {} packets", amount(adapters), amount(all))?;
        self.kept_text(f)?;
        for (title, counts) in [
            ("left to the kernel at once", &self.left),
            ("given to the kernel by the adapters", &self.given),
            ("dropped", &self.dropped),
        ] {
            counts_text(f, title, counts)?;
        }
        lines(f, "forwarded past, as --bypass-kernel-policy says", &self.bypassed)?;
        lines(f, "what it costs that packets do not pass the kernel", &self.costs)?;
        writeln!(
            f,
            "memory: {}, and {} of frames, tables and FIFOs in use (all frames: {})",
            megabytes(self.memory.resident),
            megabytes(self.memory.shared),
            megabytes(self.memory.frames)
        )
    }
}

impl Coverage {
    fn kept_text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.ways.iter().map(|way| {
            let why = way.why.join("; ");
            format!("{} > {}  all, by {why}{}", way.from, way.to, self.counted(&way.why))
        });
        let parts = self.sets.iter().map(|set| {
            let count = self.counted(std::slice::from_ref(&set.why));
            format!("{}  {}, by {}{count}", set.from, set.packets, set.why)
        });
        lines(f, "kept by the kernel", &whole.chain(parts).collect::<Vec<_>>())
    }

    /// How many packets these kept, if that was counted.
    fn counted(&self, why: &[String]) -> String {
        let counts = why.iter().filter_map(|why| self.kept.get(why));
        match counts.sum::<u64>() {
            0 => String::new(),
            count => format!(": {} packets", amount(count)),
        }
    }
}

fn lines(f: &mut fmt::Formatter<'_>, title: &str, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(f, "{title}")?;
    for line in lines.iter().take(LINES) {
        writeln!(f, "  {line}")?;
    }
    match lines.len().checked_sub(LINES + 1) {
        None => Ok(()),
        Some(more) => writeln!(f, "  and {} more (--json)", more + 1),
    }
}

fn counts_text(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    counts: &BTreeMap<String, u64>,
) -> fmt::Result {
    let rows: Vec<Vec<String>> = counts
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| vec![reason.clone(), amount(*count), meaning(reason).to_owned()])
        .collect();
    let text: Vec<String> = columns(&rows).lines().map(str::to_owned).collect();
    lines(f, title, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    fn report(classifier: &[(&str, u64)]) -> Report {
        let mut report = Report::new(&[], 0, std::time::Duration::ZERO, BTreeMap::new());
        report.classifier = names(classifier);
        (report.received, report.to_kernel) = (1000, 10);
        report
    }

    #[test]
    fn packets_are_whose_the_classifier_and_the_adapters_say() {
        let counted = packets(&report(&[
            ("claimed", 900),
            ("not_ours", 50),
            ("kept_by_rules", 5),
            ("local", 1_000_000),
            ("not_ipv4", 1_000_000),
        ]));
        assert_eq!(counted, PacketCount { adapters: 890, all: 955 });
        assert_eq!(packets(&report(&[])), PacketCount { adapters: 990, all: 1000 });
    }

    #[test]
    fn the_text_has_what_is_whose_and_why() {
        let coverage = Coverage {
            version: "1".to_owned(),
            process: 7,
            up_seconds: 12.3,
            routes: RouteCount { adapters: 2, all: 2, kernel: BTreeMap::new() },
            packets: PacketCount { adapters: 3_100_000, all: 3_100_123 },
            ways: vec![WayRow {
                from: "lan".to_owned(),
                to: "wan".to_owned(),
                why: vec!["chain f: policy drop".to_owned()],
            }],
            sets: vec![SetRow {
                from: "wan".to_owned(),
                packets: "from 172.17.0.0/16".to_owned(),
                why: "masquerade".to_owned(),
            }],
            kept: names(&[("masquerade", 123), ("chain f: policy drop", 0)]),
            left: names(&[("not_ours", 5), ("local", 0)]),
            given: names(&[("ttl_exceeded", 1)]),
            bypassed: (0..50).map(|number| format!("rule {number}")).collect(),
            memory: Memory { resident: 31_000_000, frames: 8_000_000, shared: 9_000_000 },
            ..Coverage::default()
        };
        let text = coverage.to_string();
        for line in [
            "spine-router 1, process 7, forwards since 12 s",
            "by the adapters: 2 of 2 routes",
            "by the adapters: 3.1 M of 3.1 M packets",
            "  lan > wan  all, by chain f: policy drop",
            "  wan  from 172.17.0.0/16, by masquerade: 123 packets",
            "left to the kernel at once",
            "  ttl_exceeded  1  at the end of its life: the kernel answers",
            "  and 10 more (--json)",
            "memory: 31.0 MB, and 9.0 MB of frames, tables and FIFOs in use (all frames: 8.0 MB)",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} in\n{text}");
        }
        assert!(!text.contains("local"), "nothing that never was:\n{text}");
        let json = serde_json::to_string(&coverage).expect("JSON");
        assert_eq!(serde_json::from_str::<Coverage>(&json).expect("the same"), coverage);
    }
}
