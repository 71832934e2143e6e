//! What the daemon counts, in the router's words.

use std::collections::BTreeMap;
use std::time::Duration;

use spine_abi::Reason;
use spine_client::AdapterStatistics as Counted;

use crate::adapters::AdapterStatistics;

/// What was counted between two times, in the router's words.
pub(super) fn translate(now: &Counted, before: &Counted) -> AdapterStatistics {
    let counters = since(&now.counters, &before.counters);
    let counter = |name: &str| counters.get(name).copied().unwrap_or(0);
    let mut dropped = by_reason(since(&now.dropped, &before.dropped));
    for (reason, name) in [
        (Reason::Oversized, "oversized"),
        (Reason::ReceiveLost, "receive_lost"),
        (Reason::TransmitFull, "transmit_failed"),
    ] {
        if counter(name) > 0 {
            *dropped.entry(reason).or_default() += counter(name);
        }
    }
    AdapterStatistics {
        mode: format!("{}, of spined", now.mode),
        received: counter("received"),
        transmitted: counter("transmitted"),
        forwarded: counter("forwarded"),
        to_kernel: by_reason(since(&now.to_kernel, &before.to_kernel)),
        dropped,
        syscalls: counter("wire_syscalls"),
        late: 0,
        left_out: Duration::ZERO,
    }
}

/// What was counted between two times, by name; nothing of what was not.
pub(super) fn since(
    now: &BTreeMap<String, u64>,
    before: &BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    let earlier = |name: &str| before.get(name).copied().unwrap_or(0);
    let counts = now.iter().map(|(name, n)| (name.clone(), n.saturating_sub(earlier(name))));
    counts.filter(|(_, count)| *count > 0).collect()
}

fn by_reason(counts: BTreeMap<String, u64>) -> BTreeMap<Reason, u64> {
    let known = |name: &str| Reason::ALL.iter().find(|reason| reason.name() == name).copied();
    counts.into_iter().filter_map(|(name, count)| Some((known(&name)?, count))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_counted_since_is_reported_and_under_its_reason() {
        let counted = |times: u64| Counted {
            mode: "copy".to_owned(),
            counters: [("received", 10), ("forwarded", 7), ("receive_lost", 1)]
                .map(|(name, count)| (name.to_owned(), times * count))
                .into(),
            dropped: [("no_handler".to_owned(), 2 * times)].into(),
            to_kernel: [("paused".to_owned(), 3), ("of_another_version".to_owned(), times)].into(),
            ..Counted::default()
        };
        let found = translate(&counted(3), &counted(1));
        assert_eq!((found.received, found.forwarded, found.transmitted), (20, 14, 0));
        let dropped = [(Reason::NoHandler, 4), (Reason::ReceiveLost, 2)];
        assert_eq!(found.dropped, dropped.into());
        assert_eq!(found.to_kernel, BTreeMap::new());
    }
}
