//! The old iptables, which the kernel keeps apart from nftables.
//!
//! A table exists in a namespace once someone touched it, and `/proc/net/ip_tables_names` lists
//! those. Only then is `iptables-legacy-save` asked for the rules; where it is missing, what it would
//! have said is not known, and that is an obstacle. `iptables-save` is asked in its place only if it
//! says that it is the legacy one: the other shows nftables. A list that may not be read (it is root's,
//! and capabilities do not help) is an obstacle as well.

use std::process::Command;
use std::{fs, io};

use super::Obstacle;

const CHAINS: [&str; 3] = ["PREROUTING", "FORWARD", "POSTROUTING"];
const NAMES: &str = "/proc/thread-self/net/ip_tables_names";

/// What is known about tables.
#[derive(Debug, PartialEq, Eq)]
enum Tables {
    None,
    Some,
    /// With the reason.
    Unknown(String),
}

fn tables(names: io::Result<String>) -> Tables {
    match names {
        Ok(names) if names.trim().is_empty() => Tables::None,
        Ok(_) => Tables::Some,
        // The kernel has no such thing, or has not loaded it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Tables::None,
        Err(error) => Tables::Unknown(error.to_string()),
    }
}

/// Whether any table exists, as far as can be known.
pub(super) fn may_be_present() -> bool {
    tables(fs::read_to_string(NAMES)) != Tables::None
}

pub(super) fn obstacles() -> Vec<Obstacle> {
    match tables(fs::read_to_string(NAMES)) {
        Tables::None => Vec::new(),
        Tables::Some => in_tables(),
        Tables::Unknown(why) => vec![Obstacle(format!(
            "whether iptables has tables here cannot be read from {NAMES}: {why}"
        ))],
    }
}

/// What a program prints, if it can be run and succeeds.
fn printed(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether the answer to `--version` is that of the legacy program: `iptables-save v1.8.9 (legacy)`.
fn is_legacy(version: &str) -> bool {
    version.contains("(legacy)")
}

fn in_tables() -> Vec<Obstacle> {
    let saved = printed("iptables-legacy-save", &[]).or_else(|| {
        let version = printed("iptables-save", &["--version"])?;
        if is_legacy(&version) { printed("iptables-save", &[]) } else { None }
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
    fn only_a_missing_list_means_that_there_are_no_tables() {
        let denied = io::Error::from_raw_os_error(libc::EACCES);
        let missing = io::Error::from_raw_os_error(libc::ENOENT);
        assert_eq!(tables(Err(missing)), Tables::None);
        assert_eq!(tables(Ok("\n".to_owned())), Tables::None);
        assert_eq!(tables(Ok("filter\n".to_owned())), Tables::Some);
        assert!(matches!(tables(Err(denied)), Tables::Unknown(why) if why.contains("denied")));
    }

    #[test]
    fn the_program_for_nftables_is_not_taken_for_the_legacy_one() {
        assert!(is_legacy("iptables-save v1.8.9 (legacy)\n"));
        assert!(!is_legacy("iptables-save v1.8.9 (nf_tables)\n"));
        assert!(!is_legacy("iptables-save v1.6.1\n"));
    }

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
