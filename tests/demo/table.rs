//! What the demo ends with.

use std::fmt;

use spine_tests::iperf::Tcp;
use spine_tests::router::Report;

use crate::measure::Measured;

/// All that was measured.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) by_kernel: Measured,
    pub(crate) by_adapters: Measured,
    pub(crate) with_offloads: Tcp,
    /// Packets that the kernel forwarded while the router ran.
    pub(crate) kernel_forwarded: u64,
    /// How packets reach each interface's adapter.
    pub(crate) modes: Vec<(&'static str, String)>,
    pub(crate) report: Report,
    /// Processor time over time: 1 is one core.
    pub(crate) processor_share: f64,
}

impl Outcome {
    /// The part of all forwarded packets that the adapters forwarded.
    fn share(&self) -> f64 {
        let adapters = self.report.forwarded() as f64;
        adapters / (adapters + self.kernel_forwarded as f64).max(1.0)
    }

    /// What did not go as it should.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let Measured { ping, route, .. } = &self.by_adapters;
        if ping.answered < ping.sent {
            complaints.push(format!(
                "{} of {} pings were lost",
                ping.sent - ping.answered,
                ping.sent
            ));
        }
        if self.share() < 0.99 {
            complaints.push(String::from("the kernel forwarded more than one packet in a hundred"));
        }
        if *route != self.by_kernel.route {
            complaints
                .push(format!("the traceroute differs from the kernel's: {}", route.join(", ")));
        }
        complaints
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kernel, adapters) = (&self.by_kernel, &self.by_adapters);
        let rates = |name, ours: &Tcp, theirs: &Tcp| {
            row(
                name,
                format!("{:.2} Gbit/s", ours.rate / 1e9),
                format!("{:.2} Gbit/s", theirs.rate / 1e9),
            )
        };
        writeln!(f, "{}", row("", "spine-router".to_owned(), "kernel alone".to_owned()))?;
        writeln!(f, "{}", rates("TCP, client to server", &adapters.to_server, &kernel.to_server))?;
        writeln!(f, "{}", rates("TCP, server to client", &adapters.to_client, &kernel.to_client))?;
        let offloads = format!("{:.2} Gbit/s", self.with_offloads.rate / 1e9);
        writeln!(f, "{}", row("TCP, default offloads", offloads, String::from("-")))?;
        let lost = |measured: &Measured| {
            format!("{} of {}", measured.udp.lost_on_the_way(), measured.udp.sent)
        };
        writeln!(f, "{}", row("UDP lost on the way", lost(adapters), lost(kernel)))?;
        let ping = |measured: &Measured| {
            format!(
                "{}/{}, {:.3} ms",
                measured.ping.answered, measured.ping.sent, measured.ping.mean
            )
        };
        writeln!(f, "{}", row("pings answered, mean", ping(adapters), ping(kernel)))?;
        writeln!(f)?;

        let forwarded = format!("{} ({:.2} %)", self.report.forwarded(), self.share() * 100.0);
        writeln!(f, "{}", fact("forwarded by the adapters", &forwarded))?;
        writeln!(f, "{}", fact("forwarded by the kernel", &self.kernel_forwarded.to_string()))?;
        writeln!(f, "{}", fact("handed to the kernel", &self.report.to_kernel().to_string()))?;
        let dropped = self.report.dropped();
        if dropped.values().all(|count| *count == 0) {
            writeln!(f, "{}", fact("dropped", "none"))?;
        }
        for (reason, count) in dropped.iter().filter(|(_, count)| **count > 0) {
            writeln!(f, "{}", fact(&format!("dropped: {reason}"), &count.to_string()))?;
        }
        let modes: Vec<String> =
            self.modes.iter().map(|(interface, mode)| format!("{interface} {mode}")).collect();
        writeln!(f, "{}", fact("packets reach them by", &modes.join(", ")))?;
        let cpu = format!("{:.0} % of a core while it ran", self.processor_share * 100.0);
        write!(f, "{}", fact("CPU of spine-router", &cpu))
    }
}

fn row(name: &str, ours: String, theirs: String) -> String {
    format!("{name:<28}{ours:>22}{theirs:>22}").trim_end().to_owned()
}

fn fact(name: &str, value: &str) -> String {
    format!("{name:<28}{value:>22}")
}
