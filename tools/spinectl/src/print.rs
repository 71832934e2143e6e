//! Tables for people, JSON for programs.

use std::fmt::Write as _;
use std::io::Write as _;

use serde::Serialize;
use spine_client::{AdapterInfo, AdapterStatistics, ExtensionInfo, PeerInfo};

use crate::commands::Failure;

/// Prints a value in one of the two ways.
///
/// # Errors
/// Standard output is closed.
pub(crate) fn out<T: Serialize>(
    json: bool,
    value: &T,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    if json { line(&serde_json::to_string_pretty(value)?) } else { line(text().trim_end()) }
}

/// Prints a line.
///
/// # Errors
/// Standard output is closed.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// The adapters as a table.
pub(crate) fn adapters(adapters: &[AdapterInfo]) -> String {
    let rows = adapters.iter().map(|adapter| {
        let AdapterInfo { interface, index, mode, extensions } = adapter;
        vec![interface.clone(), index.to_string(), mode.clone(), extensions.to_string()]
    });
    table(&["INTERFACE", "INDEX", "MODE", "EXTENSIONS"], rows.collect())
}

/// The extensions as a table.
pub(crate) fn extensions(extensions: &[ExtensionInfo]) -> String {
    let rows = extensions.iter().map(|extension| {
        let handlers: Vec<String> = extension.handlers.iter().map(u16::to_string).collect();
        let ports = extension.ports.iter().map(|port| format!("udp:{port}"));
        let prefixes = extension.prefixes.iter().map(ToString::to_string);
        let more = u64::from(extension.claimed).saturating_sub(extension.prefixes.len() as u64);
        let more = (more > 0).then(|| format!("{more} more"));
        let paused = extension.paused.then(|| "paused".to_owned());
        let claims: Vec<String> = prefixes.chain(more).chain(ports).chain(paused).collect();
        vec![
            extension.number.to_string(),
            extension.name.clone(),
            extension.interface.clone(),
            user(extension.user),
            match (extension.keep, &extension.uncovered) {
                (_, Some(_)) => "not covered".to_owned(),
                (true, None) => "kept".to_owned(),
                (false, None) => "-".to_owned(),
            },
            extension.version.to_string(),
            handlers.join(","),
            extension.domains.join(","),
            if claims.is_empty() { "-".to_owned() } else { claims.join(",") },
            format!("{}/{}", extension.sent, extension.received),
        ]
    });
    let head = [
        "NUMBER",
        "NAME",
        "INTERFACE",
        "USER",
        "KEEP",
        "VERSION",
        "HANDLERS",
        "DOMAINS",
        "CLAIMS",
        "TO/FROM",
    ];
    table(&head, rows.collect())
}

/// The endpoints on other machines as a table.
pub(crate) fn peers(peers: &[PeerInfo]) -> String {
    let rows = peers.iter().map(|peer| {
        let numbers = [
            peer.sent,
            peer.received,
            peer.waiting,
            peer.refused,
            peer.resent,
            peer.duplicates,
            peer.lost,
            peer.sessions,
        ];
        let mut row = vec![
            peer.name.clone(),
            peer.interface.clone(),
            peer.number.to_string(),
            peer.address.clone(),
        ];
        row.extend(numbers.map(|number| number.to_string()));
        row
    });
    let head = [
        "PEER",
        "INTERFACE",
        "NUMBER",
        "ADDRESS",
        "SENT",
        "RECEIVED",
        "WAITING",
        "REFUSED",
        "RESENT",
        "DUPLICATES",
        "LOST",
        "SESSIONS",
    ];
    let mut text = table(&head, rows.collect());
    for peer in peers.iter().filter(|peer| peer.other_version > 0) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{} speaks another version of the language between machines: both must run the same spined",
            peer.name
        );
    }
    text
}

/// The counters of adapters that are not zero.
pub(crate) fn statistics(all: &[AdapterStatistics]) -> String {
    let mut text = String::new();
    for adapter in all {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} ({})", adapter.interface, adapter.mode);
        let groups = [
            ("", &adapter.counters),
            ("dropped: ", &adapter.dropped),
            ("messages dropped: ", &adapter.messages_dropped),
            ("to the kernel: ", &adapter.to_kernel),
            ("classifier: ", &adapter.classifier),
        ];
        for (group, counts) in groups {
            for (name, count) in counts.iter().filter(|(_, count)| **count > 0) {
                let _ = writeln!(text, "  {:<36}{count:>16}", format!("{group}{name}"));
            }
        }
    }
    text
}

/// A user by name, if he has one.
pub(crate) fn user(number: u32) -> String {
    match nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(number)) {
        Ok(Some(user)) => user.name,
        _ => number.to_string(),
    }
}

/// Columns as wide as their widest entry.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut widths: Vec<usize> = head.iter().map(|title| title.len()).collect();
    for row in &rows {
        for (width, entry) in widths.iter_mut().zip(row) {
            *width = (*width).max(entry.chars().count());
        }
    }
    let mut text = String::new();
    let head = head.iter().map(|title| (*title).to_owned()).collect();
    for row in std::iter::once(head).chain(rows) {
        let cells = row.iter().zip(&widths).map(|(entry, width)| format!("{entry:<width$}"));
        let line = cells.collect::<Vec<String>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let adapter = |interface: &str, index| AdapterInfo {
            interface: interface.to_owned(),
            index,
            mode: "af_xdp copy".to_owned(),
            extensions: 2,
        };
        let text = adapters(&[adapter("a", 0), adapter("a-long-name", 1)]);
        assert_eq!(
            text,
            "INTERFACE    INDEX  MODE         EXTENSIONS\n\
             a            0      af_xdp copy  2\n\
             a-long-name  1      af_xdp copy  2\n"
        );
    }

    #[test]
    fn counters_of_zero_are_not_shown() {
        let mut adapter = AdapterStatistics { interface: "a".to_owned(), ..Default::default() };
        adapter.counters.insert("received".to_owned(), 7);
        adapter.counters.insert("transmitted".to_owned(), 0);
        adapter.dropped.insert("no_handler".to_owned(), 3);
        let text = statistics(&[adapter]);
        assert!(text.contains("received") && text.contains("dropped: no_handler"), "{text}");
        assert!(!text.contains("transmitted"), "{text}");
    }
}
