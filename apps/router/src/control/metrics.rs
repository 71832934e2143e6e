//! The report in OpenMetrics: the one place that names its counters for the world.
//!
//! A name ends with its unit, and a counter's sample with `_total`; what tells samples of one name apart is a label. A field of the
//! report without a line here fails a test.

use crate::report::{InterfaceReport, Report};

/// What a name stands for, and how to find its samples.
struct Family {
    name: &'static str,
    unit: &'static str,
    kind: Kind,
    help: &'static str,
    samples: fn(&Report) -> Vec<Sample>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Info,
}

struct Sample {
    labels: Vec<(&'static str, String)>,
    value: f64,
}

const FAMILIES: &[Family] = &[
    Family {
        name: "spine_router_interface",
        unit: "",
        kind: Kind::Info,
        help: "How packets reach the adapter of an interface.",
        samples: |report| {
            let row = |(name, mode): (&String, &String)| Sample {
                labels: vec![("interface", name.clone()), ("mode", mode.clone())],
                value: 1.0,
            };
            report.mode.iter().map(row).collect()
        },
    },
    Family {
        name: "spine_router_uptime_seconds",
        unit: "seconds",
        kind: Kind::Gauge,
        help: "Time since packets are forwarded.",
        samples: |report| vec![Sample { labels: Vec::new(), value: report.duration_seconds }],
    },
    Family {
        name: "spine_router_received_packets",
        unit: "packets",
        kind: Kind::Counter,
        help: "Packets that an adapter took from the wire.",
        samples: |report| by_interface(report, |line| number(line.received)),
    },
    Family {
        name: "spine_router_transmitted_packets",
        unit: "packets",
        kind: Kind::Counter,
        help: "Packets that an adapter put on the wire.",
        samples: |report| by_interface(report, |line| number(line.transmitted)),
    },
    Family {
        name: "spine_router_forwarded_packets",
        unit: "packets",
        kind: Kind::Counter,
        help: "Packets put on the wire for another adapter.",
        samples: |report| by_interface(report, |line| number(line.forwarded)),
    },
    Family {
        name: "spine_router_given_packets",
        unit: "packets",
        kind: Kind::Counter,
        help: "Packets that an adapter had and gave to the kernel.",
        samples: |report| by_interface(report, |line| number(line.to_kernel)),
    },
    Family {
        name: "spine_router_given_by_reason_packets",
        unit: "packets",
        kind: Kind::Counter,
        help: "Packets that adapters had and gave to the kernel, by reason.",
        samples: |report| by_name("reason", &report.to_kernel_reasons),
    },
    Family {
        name: "spine_router_dropped_packets",
        unit: "packets",
        kind: Kind::Counter,
        help: "Packets that an adapter dropped, by reason.",
        samples: |report| {
            let row = |(name, line): (&String, &InterfaceReport)| {
                let by_reason = by_name("reason", &line.dropped).into_iter();
                let name = name.clone();
                by_reason.map(move |mut sample| {
                    sample.labels.push(("interface", name.clone()));
                    sample
                })
            };
            report.interfaces.iter().flat_map(row).collect()
        },
    },
    Family {
        name: "spine_router_dropped_by_reason_packets",
        unit: "packets",
        kind: Kind::Counter,
        help: "Packets dropped, by reason, those that the kernel did not take back included.",
        samples: |report| by_name("reason", &report.dropped),
    },
    Family {
        name: "spine_router_classified_packets",
        unit: "packets",
        kind: Kind::Counter,
        help: "What the classifier did with packets: claimed for an adapter, or left to the kernel by reason.",
        samples: |report| by_name("verdict", &report.classifier),
    },
    Family {
        name: "spine_router_kept_packets",
        unit: "packets",
        kind: Kind::Counter,
        help: "Packets that the kernel keeps, by the rule or setting that keeps them, as far as they are counted apart.",
        samples: |report| by_name("why", &report.kept),
    },
    Family {
        name: "spine_router_unrepresented_prefixes",
        unit: "prefixes",
        kind: Kind::Gauge,
        help: "The most prefixes at a time that the table had no room for.",
        samples: |report| {
            let count = u64::try_from(report.unrepresented).unwrap_or(u64::MAX);
            vec![Sample { labels: Vec::new(), value: number(count) }]
        },
    },
    Family {
        name: "spine_router_wire_system_calls",
        unit: "calls",
        kind: Kind::Counter,
        help: "System calls of an adapter for its wire.",
        samples: |report| by_interface(report, |line| number(line.syscalls)),
    },
    Family {
        name: "spine_router_system_calls",
        unit: "calls",
        kind: Kind::Counter,
        help: "System calls of all adapters, sleeping and waking included.",
        samples: |report| vec![Sample { labels: Vec::new(), value: number(report.syscalls) }],
    },
    Family {
        name: "spine_router_model_late",
        unit: "",
        kind: Kind::Counter,
        help: "How often the model of a card left time out, for want of the machine's.",
        samples: |report| by_interface(report, |line| number(line.late)),
    },
    Family {
        name: "spine_router_model_left_out_seconds",
        unit: "seconds",
        kind: Kind::Counter,
        help: "Time that the model of a card left out.",
        samples: |report| by_interface(report, |line| line.left_out_seconds),
    },
];

/// The report as OpenMetrics text.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    for family in FAMILIES {
        let Family { name, unit, kind, help, samples } = family;
        let (kind_name, suffix) = match kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
            Kind::Info => ("info", "_info"),
        };
        text.push_str(&format!("# TYPE {name} {kind_name}\n"));
        // The unit of what is called so and ends otherwise may not be said.
        if name.ends_with(&format!("_{unit}")) {
            text.push_str(&format!("# UNIT {name} {unit}\n"));
        }
        text.push_str(&format!("# HELP {name} {help}\n"));
        for Sample { labels, value } in samples(report) {
            let labels: Vec<String> = labels
                .iter()
                .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
                .collect();
            let labels = match labels.is_empty() {
                true => String::new(),
                false => format!("{{{}}}", labels.join(",")),
            };
            text.push_str(&format!("{name}{suffix}{labels} {value}\n"));
        }
    }
    text.push_str("# EOF\n");
    text
}

/// Beyond 2^53 packets the last digits are zeroes.
#[expect(clippy::cast_precision_loss, reason = "that is what OpenMetrics has")]
fn number(count: u64) -> f64 {
    count as f64
}

fn by_interface(report: &Report, value: fn(&InterfaceReport) -> f64) -> Vec<Sample> {
    let sample = |(name, line): (&String, &InterfaceReport)| Sample {
        labels: vec![("interface", name.clone())],
        value: value(line),
    };
    report.interfaces.iter().map(sample).collect()
}

fn by_name(label: &'static str, counts: &std::collections::BTreeMap<String, u64>) -> Vec<Sample> {
    let sample = |(name, count): (&String, &u64)| Sample {
        labels: vec![(label, name.clone())],
        value: number(*count),
    };
    counts.iter().map(sample).collect()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    use spine_abi::Reason;

    use super::*;
    use crate::adapters::AdapterStatistics;

    /// A report whose numbers are all different.
    fn report() -> Report {
        let adapter = |first: u64| AdapterStatistics {
            mode: "af_xdp copy".to_owned(),
            received: first,
            transmitted: first + 1,
            forwarded: first + 2,
            to_kernel: BTreeMap::from([(Reason::NoRoute, first + 3), (Reason::TooBig, first + 5)]),
            dropped: BTreeMap::from([(Reason::BadChecksum, first + 7)]),
            syscalls: first + 11,
            late: first + 13,
            left_out: Duration::from_secs(first + 17),
        };
        let adapters = [("a".to_owned(), adapter(1000)), ("b\"\\\n".to_owned(), adapter(500_000))];
        let kept = BTreeMap::from([("chain \"f\"".to_owned(), 77_777)]);
        let mut report = Report::new(&adapters, 3_000_000, Duration::from_secs(4242), kept);
        report.unrepresented = 88;
        report.classifier = BTreeMap::from([("claimed".to_owned(), 99_999)]);
        report
    }

    fn numbers(value: &serde_json::Value, into: &mut BTreeSet<String>) {
        match value {
            serde_json::Value::Number(number) => {
                into.extend(number.as_f64().map(|number| number.to_string()));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| numbers(item, into)),
            serde_json::Value::Object(items) => items.values().for_each(|item| numbers(item, into)),
            _ => {}
        }
    }

    #[test]
    fn every_number_of_the_report_has_a_sample() {
        let report = report();
        let mut wanted = BTreeSet::new();
        numbers(&serde_json::to_value(&report).expect("JSON"), &mut wanted);
        assert!(wanted.len() > 25, "{wanted:?}");
        let text = text(&report);
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let found: Vec<f64> = samples
            .filter_map(|line| line.rsplit(' ').next().and_then(|value| value.parse().ok()))
            .collect();
        // Sums are the world's to make: what is the sum of samples of one name is there.
        let sums = |number: f64| {
            found.iter().enumerate().any(|(at, one)| {
                found[at + 1..].iter().any(|other| (one + other - number).abs() < 0.5)
            })
        };
        for number in wanted {
            let number: f64 = number.parse().expect("a number");
            let there = found.iter().any(|value| (value - number).abs() < 0.001);
            assert!(there || sums(number), "{number} is nowhere in\n{text}");
        }
    }

    #[test]
    fn the_text_is_open_metrics() {
        let text = text(&report());
        assert!(text.ends_with("\n# EOF\n"));
        let mut families = BTreeSet::new();
        let mut current = "";
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert!(["counter", "gauge", "info"].contains(&kind));
                assert!(families.insert(name), "{name} twice");
                current = name;
            } else if let Some(rest) = line.strip_prefix("# UNIT ") {
                let (name, unit) = rest.split_once(' ').expect("a unit");
                assert!(name == current && name.ends_with(&format!("_{unit}")), "{line}");
            } else if !line.starts_with("# HELP ") {
                let end = line.find(['{', ' ']).expect("a name");
                let name = line[..end].trim_end_matches("_total").trim_end_matches("_info");
                assert_eq!(name, current, "{line}");
            }
        }
        for line in [
            "spine_router_received_packets_total{interface=\"a\"} 1000",
            "spine_router_received_packets_total{interface=\"b\\\"\\\\\\n\"} 500000",
            "spine_router_kept_packets_total{why=\"chain \\\"f\\\"\"} 77777",
            "spine_router_dropped_packets_total{reason=\"bad_checksum\",interface=\"a\"} 1007",
            "spine_router_interface_info{interface=\"a\",mode=\"af_xdp copy\"} 1",
            "spine_router_uptime_seconds 4242",
            "# UNIT spine_router_received_packets packets",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} in\n{text}");
        }
    }
}
