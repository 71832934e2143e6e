//! Words and numbers for people.

/// What the reasons mean, for which the classifier, the table and the adapters leave packets to the kernel.
const REASONS: &[(&str, &str)] = &[
    ("switched_off", "nothing that its interface receives is the adapters'"),
    ("no_socket", "its queue has no adapter"),
    ("other_mac", "addressed to another machine, or to all"),
    ("not_ipv4", "ARP, VLAN, IPv6 and the like"),
    ("truncated", "shorter than it says"),
    ("bad_header", "a header that contradicts itself"),
    ("options", "IP options"),
    ("ttl_exceeded", "at the end of its life: the kernel answers"),
    ("routing_protocol", "what routers say to each other"),
    ("special_address", "an address that is not forwarded"),
    ("local", "to or from this machine"),
    (
        "not_ours",
        "its way out is not one of these interfaces, or the machine there is not resolved",
    ),
    ("unfinished_checksums", "a tunnel or SCTP whose sender leaves checksums undone"),
    ("fragments", "a piece of what may be for a claimed port"),
    ("kept_by_rules", "a rule could treat it in another way than to let it pass"),
    ("too_long", "longer than an adapter's frame holds"),
    ("adapter_stuck", "nobody fetched what came before it: the adapter does not get the processor"),
    ("tag_beside", "of a VLAN that is not the interface's: its tag is beside it"),
    ("handed", "on its way back to the kernel from an adapter"),
    ("reverse_path", "the reverse-path filter does not believe its source"),
    ("kept_way", "a rule or setting keeps all that goes this way"),
    ("no_route", "no route, or one that refuses: the kernel answers"),
    ("unresolved", "the next machine is not resolved"),
    ("too_big", "larger than the way out takes: the kernel answers or cuts it"),
    ("hairpin", "its way out is its way in"),
    ("unhandled", "nothing that is forwarded"),
    ("paused", "the adapter stood aside"),
    ("no_room", "the adapters' table is full"),
    ("blackhole", "a route that throws it away"),
    ("martian", "an address that no router forwards"),
];

/// What a reason means.
pub(super) fn meaning(reason: &str) -> &str {
    REASONS.iter().find(|(name, _)| *name == reason).map_or("", |(_, meaning)| meaning)
}

/// A number of things as people read it: two or three digits and a unit, rounded down.
pub(super) fn amount(number: u64) -> String {
    if number < 10_000 {
        return number.to_string();
    }
    let units = [(1_000, "k"), (1_000_000, "M"), (1_000_000_000, "G"), (1_000_000_000_000, "T")];
    let (unit, letter) =
        units.into_iter().find(|(unit, _)| number / unit < 1000).unwrap_or(units[3]);
    match number / unit {
        whole @ 0..10 => format!("{whole}.{} {letter}", number % unit / (unit / 10)),
        whole => format!("{whole} {letter}"),
    }
}

/// Bytes in megabytes.
pub(super) fn megabytes(bytes: u64) -> String {
    let tenths = (bytes + 50_000) / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

/// Rows with their columns under each other, the last one as it is.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use spine_abi::Reason;

    #[test]
    fn numbers_are_short_and_right() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (9_989, "9989"),
            (12_345, "12 k"),
            (3_100_000, "3.1 M"),
            (3_149_999, "3.1 M"),
            (42_000_000, "42 M"),
            (2_500_000_000, "2.5 G"),
        ] {
            assert_eq!(amount(number), text);
        }
        assert_eq!(megabytes(31_249_999), "31.2 MB");
    }

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [vec!["a".to_owned(), "bb".to_owned()], vec!["ccc".to_owned(), "d".to_owned()]];
        assert_eq!(columns(&rows), "a    bb\nccc  d\n");
    }

    #[test]
    fn what_the_kernel_gets_for_a_reason_has_words() {
        let reasons = [
            Reason::NoRoute,
            Reason::Unresolved,
            Reason::TooBig,
            Reason::Options,
            Reason::Hairpin,
            Reason::Local,
            Reason::NotOurs,
            Reason::TtlExceeded,
            Reason::Paused,
            Reason::Unhandled,
            Reason::Blackhole,
            Reason::Martian,
        ];
        let names = reasons.iter().map(|reason| reason.name());
        let counters = spine_xdp_progs::Counter::ALL.iter().map(|counter| counter.name());
        for name in names.chain(counters).filter(|name| *name != "claimed") {
            assert_ne!(meaning(name), "", "{name}");
        }
    }
}
