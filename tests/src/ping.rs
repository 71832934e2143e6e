//! Echo requests, and what came of them.

use std::time::Duration;

use crate::namespace::Namespace;

/// What `ping` counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ping {
    /// Requests sent.
    pub sent: u32,
    /// Answers received.
    pub answered: u32,
    /// Mean time to the answer in milliseconds; 0 if there was none.
    pub mean: f64,
}

/// Sends `count` requests to `address`, 20 ms apart, and waits 1 s for the last answer.
pub fn ping(from: &Namespace, address: &str, count: u32) -> Ping {
    let line = format!("ping -n -q -c {count} -i 0.02 -W 1 {address}");
    // Its exit status only says whether all were answered, which the numbers say as well.
    let said = from.try_run(&line, Duration::from_secs(30 + u64::from(count) / 50)).stdout;
    parse(&said).unwrap_or_else(|| panic!("{line}: no summary in {said:?}"))
}

fn parse(text: &str) -> Option<Ping> {
    let summary = text.lines().find(|line| line.contains("packets transmitted"))?;
    let mut words = summary.split_whitespace();
    let sent = words.next()?.parse().ok()?;
    let answered = words.nth(2)?.parse().ok()?;
    let mean = text
        .lines()
        .find_map(|line| line.strip_prefix("rtt ")?.split_once(" = "))
        .and_then(|(_, times)| times.split('/').nth(1)?.parse().ok())
        .unwrap_or_default();
    Some(Ping { sent, answered, mean })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWERED: &str = "PING 10.9.2.2 (10.9.2.2) 56(84) bytes of data.\n\n\
        --- 10.9.2.2 ping statistics ---\n\
        20 packets transmitted, 19 received, 5% packet loss, time 380ms\n\
        rtt min/avg/max/mdev = 0.036/0.051/0.120/0.018 ms\n";
    const SILENT: &str = "--- 10.9.2.2 ping statistics ---\n\
        3 packets transmitted, 0 received, +3 errors, 100% packet loss, time 2041ms\n";

    #[test]
    fn a_summary_gives_counts_and_the_mean() {
        assert_eq!(parse(ANSWERED), Some(Ping { sent: 20, answered: 19, mean: 0.051 }));
    }

    #[test]
    fn without_answers_there_is_no_mean() {
        assert_eq!(parse(SILENT), Some(Ping { sent: 3, answered: 0, mean: 0.0 }));
    }

    #[test]
    fn other_text_is_not_a_summary() {
        assert_eq!(parse("ping: unknown host"), None);
    }
}
