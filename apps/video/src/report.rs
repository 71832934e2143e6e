//! What a run came to: one object for programs, one line for people every ten seconds.
//!
//! Counters are named as the Media Transport Library names them. Every frame that was complete is shown or
//! was overwritten by the next one before it was; every packet of the stream is counted under `packets`, and
//! under one more name if it was not used.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use serde::Serialize;
use spine_video_extension::protocol::Counter;

use crate::frames::WindowCounters;
use crate::view::Checked;

/// What was counted for one stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StreamReport {
    /// What it is.
    pub stream: String,
    /// Frames that came whole.
    pub frames_complete: u64,
    /// Frames that were shown (or, headless, taken).
    pub frames_shown: u64,
    /// Whole frames that the next one replaced before they were shown.
    pub frames_overwritten: u64,
    /// Frames of which something was missing.
    pub frames_incomplete: u64,
    /// Those of them that were not shown.
    pub frames_dropped: u64,
    /// Those of them that were completed from the frame before.
    pub frames_repaired: u64,
    /// With `--check`: shown frames that consist of two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames_torn: Option<u64>,
    /// With `--check`: shown frames that are not the test pattern.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames_unstamped: Option<u64>,
    /// Frames shown a second.
    pub fps: f64,
    /// On the wire, with all headers.
    pub mbit_per_second: f64,
    /// The extension's counters of packets, by name.
    #[serde(flatten)]
    pub packets: BTreeMap<&'static str, u64>,
}

impl StreamReport {
    /// Puts together what adapter and application counted; `lost` and others are read by `counted`.
    pub fn new(
        stream: String,
        window: WindowCounters,
        shown: u64,
        checked: Option<Checked>,
        counted: impl Fn(Counter) -> u64,
    ) -> Self {
        let packets = Counter::ALL.iter().filter(|counter| {
            let name = counter.name();
            name.starts_with("packets") || name == "restarts"
        });
        Self {
            stream,
            frames_complete: window.complete,
            frames_shown: shown,
            frames_overwritten: window.overwritten,
            frames_incomplete: window.incomplete,
            frames_dropped: window.dropped,
            frames_repaired: window.repaired,
            frames_torn: checked.map(|checked| checked.torn),
            frames_unstamped: checked.map(|checked| checked.unstamped),
            fps: 0.0,
            mbit_per_second: 0.0,
            packets: packets.map(|counter| (counter.name(), counted(*counter))).collect(),
        }
    }

    /// A counter of packets.
    pub fn packets(&self, counter: Counter) -> u64 {
        self.packets.get(counter.name()).copied().unwrap_or_default()
    }

    fn add(&mut self, other: &Self) {
        self.frames_complete += other.frames_complete;
        self.frames_shown += other.frames_shown;
        self.frames_overwritten += other.frames_overwritten;
        self.frames_incomplete += other.frames_incomplete;
        self.frames_dropped += other.frames_dropped;
        self.frames_repaired += other.frames_repaired;
        let plus = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (None, None) => None,
            (one, other) => Some(one.unwrap_or_default() + other.unwrap_or_default()),
        };
        self.frames_torn = plus(self.frames_torn, other.frames_torn);
        self.frames_unstamped = plus(self.frames_unstamped, other.frames_unstamped);
        self.fps += other.fps;
        self.mbit_per_second += other.mbit_per_second;
        for (name, count) in &other.packets {
            *self.packets.entry(name).or_default() += count;
        }
    }
}

/// The object: all streams together, and each.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// How packets came in.
    pub mode: String,
    /// How pictures got to the screen.
    pub presented: String,
    /// All streams together.
    #[serde(flatten)]
    pub all: StreamReport,
    /// Packets that found the adapter's ring full: it was behind (XDP_STATISTICS).
    pub adapter_lost: u64,
    /// Packets that the interface and its driver dropped meanwhile, whoever they were for.
    pub interface_dropped: u64,
    /// Packets to the streams' ports that are no stream's: sent to another address, or broken.
    pub packets_unknown: u64,
    /// Times that a handler of the extension was stopped; never, unless there is a fault in it.
    pub handlers_stopped: u64,
    /// What the classifier did with every packet of the interface; empty without one.
    pub classifier: BTreeMap<&'static str, u64>,
    /// IP fragments to the streams' addresses: a sender's packets are too long.
    pub ip_fragments: u64,
    /// The most packets that waited for the adapter at one time; not measured beside a router.
    pub largest_backlog: u64,
    /// The longest time in which the adapter did not look although there was work, in milliseconds.
    pub longest_stall_ms: f64,
    /// Processor time of all threads but the adapter's, from the first frame shown to the last: percent of
    /// one core.
    pub cpu_host_percent: f64,
    /// The same of the adapter's thread.
    pub cpu_adapter_percent: f64,
    /// From the first frame shown to the last.
    pub shown_seconds: f64,
    /// From the start to "ready": linking the extension, above all.
    pub startup_seconds: f64,
    /// Processor time of that.
    pub startup_cpu_seconds: f64,
    /// From "ready" to the end.
    pub seconds: f64,
    /// Each of them.
    pub streams: Vec<StreamReport>,
    /// With `--router`: what that did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<spine_router::report::Report>,
}

impl Report {
    /// Adds the streams up.
    pub fn sum(&mut self) {
        let mut all = StreamReport::default();
        self.streams.iter().for_each(|stream| all.add(stream));
        all.stream = format!("{} streams", self.streams.len());
        if let [only] = self.streams.as_slice() {
            all.stream.clone_from(&only.stream);
        }
        self.all = all;
    }

    /// Where packets were lost.
    pub fn losses(&self) -> Losses {
        Losses {
            missing: self.all.packets(Counter::Lost),
            adapter: self.adapter_lost,
            interface: self.interface_dropped,
            stall_ms: self.longest_stall_ms,
        }
    }

    /// The JSON object.
    ///
    /// # Panics
    /// Never: the fields are numbers and text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and text")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for stream in &self.streams {
            writeln!(
                f,
                "{}: {} frames shown ({:.1} a second), {} complete, {} overwritten, {} incomplete, {} \
                 dropped; {} packets, {} lost, {} late",
                stream.stream,
                stream.frames_shown,
                stream.fps,
                stream.frames_complete,
                stream.frames_overwritten,
                stream.frames_incomplete,
                stream.frames_dropped,
                stream.packets(Counter::Packets),
                stream.packets(Counter::Lost),
                stream.packets(Counter::Late),
            )?;
        }
        if self.ip_fragments > 0 {
            writeln!(
                f,
                "{} IP fragments: lower the sender's packet size (mtu=1472)",
                self.ip_fragments
            )?;
        }
        if let Some(sentence) = self.losses().sentence() {
            writeln!(f, "{sentence}")?;
        }
        writeln!(
            f,
            "{}, {}: host {:.2} % of a core, adapter {:.1} %; {} packets lost by the adapter, largest \
             backlog {}, longest stall {:.1} ms",
            self.mode,
            self.presented,
            self.cpu_host_percent,
            self.cpu_adapter_percent,
            self.adapter_lost,
            self.largest_backlog,
            self.longest_stall_ms,
        )?;
        if let Some(router) = &self.router {
            writeln!(f, "{router}")?;
        }
        write!(f, "ready after {:.1} s, ran for {:.1} s", self.startup_seconds, self.seconds)
    }
}

/// Where packets were lost: what is missing by the senders' numbers, and who is known to have lost some.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Losses {
    /// Gaps in the RTP numbers of all streams.
    pub missing: u64,
    /// By the adapter's ring.
    pub adapter: u64,
    /// By the interface and its driver.
    pub interface: u64,
    /// The adapter's longest stall, in milliseconds.
    pub stall_ms: f64,
}

impl Losses {
    /// Who lost them, and what helps, for people; nothing if nothing was lost.
    pub fn sentence(&self) -> Option<String> {
        let Self { missing, adapter, interface, stall_ms } = *self;
        if missing == 0 && adapter == 0 {
            return None;
        }
        let mut parts = Vec::new();
        if adapter > 0 {
            parts.push(format!(
                "{adapter} by the adapter's full ring (it stood still for {stall_ms:.0} ms: give it a core \
                 of its own with --core)"
            ));
        }
        if interface > 0 {
            parts.push(format!(
                "up to {interface} by the interface (ethtool -S tells more; ethtool -G makes its rings larger)"
            ));
        }
        // Of what is missing nobody here knows more.
        let before = missing.saturating_sub(adapter + interface);
        if before > 0 {
            parts.push(format!(
                "{before} before they reached this interface: by the sender or on the way (a veth counts them \
                 as tx_dropped of the other end)"
            ));
        }
        Some(format!("packets lost: {}", parts.join(", ")))
    }
}

/// What a stream came to since the last look: the difference of two reports.
pub fn lines(name: &str, before: &StreamReport, now: &StreamReport, time: Duration) -> Vec<String> {
    let seconds = time.as_secs_f64().max(1e-9);
    let of = |counter: Counter| now.packets(counter).saturating_sub(before.packets(counter));
    let shown = now.frames_shown.saturating_sub(before.frames_shown);
    let mut first = format!("{name}: fps {:.1}", shown as f64 / seconds);
    let _ = write!(first, ", {:.0} Mbit/s, packets {}", now.mbit_per_second, of(Counter::Packets));
    let mut second = format!("lost {}", of(Counter::Lost));
    for (word, counter) in [
        ("reordered", Counter::Reordered),
        ("late", Counter::Late),
        ("duplicate", Counter::Duplicate),
        ("wrong payload type", Counter::WrongPayloadType),
    ] {
        let _ = write!(second, ", {word} {}", of(counter));
    }
    let difference = |now: u64, before: u64| now.saturating_sub(before);
    let third = format!(
        "frames complete {}, overwritten {}, incomplete {}, dropped {}",
        difference(now.frames_complete, before.frames_complete),
        difference(now.frames_overwritten, before.frames_overwritten),
        difference(now.frames_incomplete, before.frames_incomplete),
        difference(now.frames_dropped, before.frames_dropped),
    );
    vec![first, second, third]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(shown: u64) -> StreamReport {
        let window = WindowCounters { complete: 12, overwritten: 2, ..WindowCounters::default() };
        let checked = Some(Checked { whole: 9, torn: 1, unstamped: 0 });
        StreamReport::new("5004 RGB 2x2".to_owned(), window, shown, checked, |counter| {
            counter as u64 + 1
        })
    }

    #[test]
    fn the_object_has_every_key_that_programs_look_for() {
        let mut report = Report { streams: vec![stream(10), stream(9)], ..Report::default() };
        report.sum();
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        for key in [
            "frames_complete",
            "frames_shown",
            "frames_overwritten",
            "frames_incomplete",
            "frames_dropped",
            "packets",
            "packets_lost",
            "packets_late",
            "adapter_lost",
            "cpu_host_percent",
            "cpu_adapter_percent",
        ] {
            assert!(json[key].is_number(), "{key} in {json}");
        }
        assert_eq!(json["frames_shown"], 19);
        assert_eq!(json["packets"], 2 * (Counter::Packets as u64 + 1));
        assert_eq!(json["frames_torn"], 2);
        assert_eq!(json["streams"][1]["frames_shown"], 9);
    }

    #[test]
    fn who_lost_packets_is_said() {
        let say = |missing, adapter, interface| {
            Losses { missing, adapter, interface, stall_ms: 91.2 }.sentence().unwrap_or_default()
        };
        assert_eq!(say(0, 0, 7), "", "what the interface dropped was nobody's here");
        let ring = say(40, 40, 0);
        assert!(ring.contains("40 by the adapter's full ring (it stood still for 91 ms"), "{ring}");
        assert!(!ring.contains("before they reached"), "{ring}");
        let both = say(40, 30, 0);
        assert!(both.contains("30 by the adapter's") && both.contains("10 before they"), "{both}");
        assert!(say(5, 0, 9).contains("up to 9 by the interface"));
        assert!(say(5, 0, 0).starts_with("packets lost: 5 before they reached this interface"));
    }

    #[test]
    fn a_line_says_what_happened_since_the_last() {
        let lines = lines("5004", &stream(4), &stream(10), Duration::from_secs(3));
        assert!(lines[0].starts_with("5004: fps 2.0, "), "{lines:?}");
        assert_eq!(lines[1], "lost 0, reordered 0, late 0, duplicate 0, wrong payload type 0");
    }
}
