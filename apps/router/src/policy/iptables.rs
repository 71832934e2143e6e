//! The old iptables, which the kernel keeps apart from nftables.
//!
//! A table exists in a namespace once someone touched it, and `/proc/net/ip_tables_names` lists
//! those. Only then is `iptables-legacy-save` asked for the rules; where it is missing, what it would
//! have said is not known, and that is an obstacle.

use std::fs;
use std::process::Command;

use super::Obstacle;

const CHAINS: [&str; 3] = ["PREROUTING", "FORWARD", "POSTROUTING"];
const PROGRAMS: [&str; 2] = ["iptables-legacy-save", "iptables-save"];

/// Whether any table exists.
pub(super) fn is_present() -> bool {
    fs::read_to_string("/proc/thread-self/net/ip_tables_names")
        .is_ok_and(|names| !names.trim().is_empty())
}

pub(super) fn obstacles() -> Vec<Obstacle> {
    if !is_present() {
        return Vec::new();
    }
    let saved = PROGRAMS.iter().find_map(|program| {
        let output = Command::new(program).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    });
    match saved {
        Some(text) => in_saved(&text),
        None => vec![Obstacle(
            "iptables has tables here, and without iptables-legacy-save their rules are not known"
                .to_owned(),
        )],
    }
}

/// Reads the format of iptables-save: `*table`, `:CHAIN POLICY [counters]`, `-A CHAIN rule`.
fn in_saved(text: &str) -> Vec<Obstacle> {
    let mut table = "";
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(first), None, _) if first.starts_with('*') => table = &first[1..],
            (Some(chain), Some(policy @ ("DROP" | "REJECT")), _) if chain.starts_with(':') => {
                let chain = &chain[1..];
                if CHAINS.contains(&chain) {
                    let sentence =
                        format!("iptables chain {chain} of table {table} has policy {policy}");
                    found.push(Obstacle(sentence));
                }
            }
            (Some("-A"), Some(chain), _) if CHAINS.contains(&chain) => {
                let rules = format!("iptables chain {chain} of table {table} has rules");
                found.push(Obstacle(rules));
            }
            _ => {}
        }
    }
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_policies_on_the_forwarding_path_are_found() {
        for (name, text, expected) in [
            ("empty", "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\nCOMMIT\n", vec![]),
            (
                "only what does not forward",
                "*filter\n:INPUT DROP [0:0]\n-A INPUT -j DROP\n-A DOCKER -j DROP\nCOMMIT\n",
                vec![],
            ),
            (
                "policy",
                "*filter\n:FORWARD DROP [5:300]\nCOMMIT\n",
                vec!["iptables chain FORWARD of table filter has policy DROP"],
            ),
            (
                "two rules of one chain",
                "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -j MASQUERADE\n\
                 -A POSTROUTING -j LOG\nCOMMIT\n",
                vec!["iptables chain POSTROUTING of table nat has rules"],
            ),
        ] {
            let found: Vec<String> = in_saved(text).into_iter().map(|found| found.0).collect();
            assert_eq!(found, expected, "{name}");
        }
    }
}
