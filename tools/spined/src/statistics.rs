//! What an adapter counted, in the words of the control protocol.

use std::collections::BTreeMap;

use spine_client::daemon::protocol::{AdapterStatistics, Bill, FifoInfo};
use spine_io::FifoId;
use spine_io::endpoint::fifo::FifoStatistics;
use spine_io::runtime::Statistics;
use spine_io::stats::{ByReason, ExtensionStatistics};

/// The same numbers by name.
pub(crate) fn translate(
    found: &Statistics,
    classified: &[(&'static str, u64)],
    user_of: impl Fn(FifoId) -> Option<u32>,
) -> AdapterStatistics {
    let Statistics { counters, nic, .. } = found;
    let named = [
        ("received", nic.received),
        ("transmitted", nic.transmitted),
        ("receive_lost", nic.receive_lost),
        ("oversized", nic.oversized),
        ("transmit_failed", nic.transmit_failed),
        ("wire_syscalls", nic.syscalls),
        ("forwarded", counters.forwarded),
        ("transmitted_own", counters.transmitted_own),
        ("consumed", counters.consumed),
        ("to_host", counters.to_host),
        ("from_host", counters.from_host),
        ("from_peer", counters.from_peer),
        ("to_peer", counters.to_peer),
        ("handled", counters.handled),
        ("entries", counters.entries),
        ("fuel", counters.fuel),
        ("strikes", counters.strikes),
        ("unloaded", counters.unloaded),
        ("checksums_completed", counters.checksums_completed),
        ("receive_nanos", found.times.receive),
        ("send_nanos", found.times.send),
        ("control_nanos", found.times.control),
        ("gone_nanos", found.times.gone),
        ("busy_nanos", found.times.busy),
        ("frames_free", found.frames.0 as u64),
        ("frames", found.frames.1 as u64),
    ];
    AdapterStatistics {
        interface: found.name.clone(),
        mode: found.mode.clone(),
        counters: named.into_iter().map(|(name, count)| (name.to_owned(), count)).collect(),
        dropped: by_reason(&counters.dropped),
        messages_dropped: by_reason(&counters.messages_dropped),
        to_kernel: by_reason(&counters.to_kernel),
        classifier: classified
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(counter, count)| ((*counter).to_owned(), *count))
            .collect(),
        fifos: found
            .fifos
            .iter()
            .filter_map(|fifo| Some(describe(fifo, user_of(fifo.id)?)))
            .collect(),
    }
}

/// What an extension has cost, in the words of the control protocol.
pub(crate) fn bill(known: ExtensionStatistics) -> Bill {
    let ExtensionStatistics { bill, picos_per_unit, strikes, frames, memory, last_stop, .. } =
        known;
    Bill {
        entries: bill.entries,
        messages: bill.messages,
        fuel: bill.fuel,
        nanos: bill.nanos,
        picos_per_unit,
        out_of_fuel: bill.out_of_fuel,
        too_dear: bill.too_dear,
        trapped: bill.trapped,
        broken_off: bill.broken_off,
        callee_trapped: bill.callee_trapped,
        strikes,
        frames: frames as u64,
        memory,
        last_stop: last_stop.map(|(handler, what)| (handler.0, what)),
    }
}

fn describe(fifo: &FifoStatistics, user: u32) -> FifoInfo {
    let FifoStatistics { counts, closed, .. } = fifo;
    FifoInfo {
        user,
        to_client: counts.sent,
        from_client: counts.received,
        malformed: counts.malformed,
        rings: counts.rings,
        heard: counts.heard,
        closed: closed.map(|why| why.to_string()),
    }
}

fn by_reason(counts: &ByReason) -> BTreeMap<String, u64> {
    counts.iter().map(|(reason, count)| (reason.name().to_owned(), count)).collect()
}
