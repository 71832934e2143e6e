//! `--long`: what the client promises for a minute, and who lost a packet if one is lost.
//!
//! The sender is GStreamer, unpaced, on the same two cores: what is shown here is the worst that a sender of raw
//! video does. A packet can be lost by the sender's socket, by the wire (a veth, which counts that at the sending
//! end), by the adapter's ring; or it is missing and nobody knows.

use std::fmt;
use std::time::Duration;

use spine_tests::video::{Receiver, Statistics};
use spine_tests::{Namespace, Topology};

use crate::players::send_video;
use crate::{Screen, step};

/// One run.
#[derive(Debug, Clone, Copy)]
struct Case {
    format: &'static str,
    size: (u32, u32),
    seconds: u64,
    headless: bool,
    /// The most of a core that the host's half may take, in percent.
    host: f64,
}

/// 1.85 Gbit/s for a minute, in a window and without one, and 2.08 Gbit/s for half a minute.
const CASES: [Case; 3] = [
    Case { format: "BGRA", size: (1280, 720), seconds: 60, headless: false, host: 1.5 },
    Case { format: "BGRA", size: (1280, 720), seconds: 60, headless: true, host: 0.75 },
    Case { format: "UYVY", size: (1920, 1080), seconds: 30, headless: false, host: 1.5 },
];
/// The part of complete frames that must be shown.
const SHOWN: f64 = 0.995;

/// What the sender's end lost.
#[derive(Debug, Clone, Copy)]
struct SendersLoss {
    socket: u64,
    wire: u64,
}

impl SendersLoss {
    fn so_far(sender: &Namespace) -> Self {
        Self {
            socket: sender.snmp("Udp", "SndbufErrors"),
            wire: sender.interface_counter("eth", "tx_dropped"),
        }
    }
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    case: Case,
    statistics: Statistics,
    socket: u64,
    wire: u64,
}

/// Runs all of them, each for so many seconds instead of its own.
pub(crate) fn run(net: &Topology, screen: &Screen, seconds: Option<u32>) -> Vec<Ran> {
    let cases = CASES
        .into_iter()
        .map(|case| Case { seconds: seconds.map_or(case.seconds, u64::from), ..case });
    cases.map(|case| run_one(net, screen, case)).collect()
}

fn run_one(net: &Topology, screen: &Screen, case: Case) -> Ran {
    let Case { format, size: (width, height), seconds, headless, .. } = case;
    step(&format!("{case}: {seconds} s"));
    let options = format!(
        "--iface sender --port 5004 --format {format} --size {width}x{height} --duration {}",
        seconds + 2
    );
    let receiver = if headless {
        Receiver::headless(net.router(), &options)
    } else {
        Receiver::with_display(net.router(), &screen.name(), &options)
    };
    let before = SendersLoss::so_far(net.host("sender"));
    let time = Duration::from_secs(seconds);
    let sender = send_video(net, format, case.size, time);
    let statistics = receiver.finish(time + Duration::from_secs(20));
    drop(sender);
    let after = SendersLoss::so_far(net.host("sender"));
    Ran { case, statistics, socket: after.socket - before.socket, wire: after.wire - before.wire }
}

impl Ran {
    /// What is not as promised.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let Self { case, statistics, .. } = self;
        let mut complaints = Vec::new();
        let lost = statistics.count("adapter_lost");
        if lost > 0 {
            complaints.push(format!("{case}: {lost} packets lost by the adapter"));
        }
        let (complete, shown) =
            (statistics.count("frames_complete"), statistics.count("frames_shown"));
        if complete == 0 || (shown as f64) < SHOWN * complete as f64 {
            complaints.push(format!("{case}: {shown} of {complete} complete frames shown"));
        }
        let host = statistics.number("cpu_host_percent");
        if host > case.host {
            complaints.push(format!("{case}: {host:.2} % of a core on the host"));
        }
        complaints
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, height) = self.size;
        let place = if self.headless { "headless" } else { "window" };
        write!(f, "{} {width}x{height} 60, {place}", self.format)
    }
}

/// The table of them.
pub(crate) struct Table<'a>(pub(crate) &'a [Ran]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:28} {:>8} {:>8} {:>9} {:>8} {:>8}   lost: {:>7} {:>7} {:>7} {:>7} {:>8} {:>9}",
            "",
            "host",
            "adapter",
            "Mbit/s",
            "complete",
            "shown",
            "in all",
            "socket",
            "wire",
            "ring",
            "backlog",
            "stall"
        )?;
        for Ran { case, statistics, socket, wire } in self.0 {
            let count = |key| statistics.count(key);
            write!(
                f,
                "\n{:28} {:>6.2} % {:>6.1} % {:>9.0} {:>8} {:>8}         {:>7} {:>7} {:>7} {:>7} {:>8} {:>6.1} ms",
                case.to_string(),
                statistics.number("cpu_host_percent"),
                statistics.number("cpu_adapter_percent"),
                statistics.number("mbit_per_second"),
                count("frames_complete"),
                count("frames_shown"),
                count("packets_lost"),
                socket,
                wire,
                count("adapter_lost"),
                count("largest_backlog"),
                statistics.number("longest_stall_ms"),
            )?;
        }
        Ok(())
    }
}
