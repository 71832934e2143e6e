//! An extension that others are linked against: it counts packets by flow.
//!
//! It exports the domain `flow`. What a flow is, who calls decides, by the key: 64 bits that say which one a
//! packet belongs to. All who call count into the same memory, and none of them can touch it.
//!
//! The counts are a count-min sketch (Cormode and Muthukrishnan, Journal of Algorithms 55(1), 2005): a
//! key has one counter in each of four rows, and its count is the least of the four. So a count is never
//! too low, and too high only where four other flows met it by chance. It has a fixed size, takes the same
//! time for every key, and whatever a caller passes is a key: there is nothing to check.
//!
//! A caller without fuel may have the count stopped between two counters. Then some of its rows have the
//! packet and others do not: the least of them is still right for all packets before.
#![cfg_attr(target_arch = "wasm32", no_std)]
#![forbid(unsafe_code)]

use spine_sdk::{
    Context, Global, HandlerNumber, Message, Reason, Scratch, Verdict, handler, send_to_host,
};

/// The application's question how many packets were counted.
pub const HOW_MANY: HandlerNumber = HandlerNumber(30);
/// The application's number for the answer: packets (u64).
pub const SO_MANY: HandlerNumber = HandlerNumber(1);

const ROWS: usize = 4;
/// Counters of a row, a power of two.
const COUNTERS: usize = 1024;

static COUNTS: Scratch<{ ROWS * COUNTERS }> = Scratch::new();
static PACKETS: Global<u64> = Global::<u64>::new(0);

/// Counts a packet of the flow with this key, and gives how many it has had.
fn count(key: u64) -> u64 {
    PACKETS.set(PACKETS.get().wrapping_add(1));
    let counts = COUNTS.memory();
    let mut least = u64::MAX;
    for row in 0..ROWS {
        let place = 8 * (row * COUNTERS + counter(key, row));
        let seen = counts.u64_at(place).saturating_add(1);
        counts.set_u64(place, seen);
        least = least.min(seen);
    }
    least
}

/// How many packets were counted, of whatever flow.
fn packets() -> u64 {
    PACKETS.get()
}

/// The counter of a key in a row: multiplication by an odd constant of the row's own, and the high bits,
/// which all of the key's bits reach.
fn counter(key: u64, row: usize) -> usize {
    const ODD: [u64; ROWS] = [
        0x9e37_79b9_7f4a_7c15,
        0xbf58_476d_1ce4_e5b9,
        0x94d0_49bb_1331_11eb,
        0xd6e8_feb8_6659_fd93,
    ];
    let odd = ODD.get(row).copied().unwrap_or(1);
    let mixed = (key ^ (key >> 32)).wrapping_mul(odd);
    ((mixed >> 54) & (COUNTERS as u64 - 1)) as usize
}

#[handler(HOW_MANY.0)]
fn how_many(_context: Context, _message: &mut Message<'_>) -> Verdict {
    match send_to_host(SO_MANY, &packets().to_le_bytes()) {
        Ok(()) => Verdict::Done,
        Err(_) => Verdict::Drop(Reason::Unanswered),
    }
}

spine_sdk::extension! {
    name: "flows",
    domains: [Host],
    handlers: [how_many],
    exports: flow {
        fn count(key: u64) -> u64;
        fn packets() -> u64;
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use spine_sdk::declaration::Signature;
    use spine_sdk::manifest::Manifest;
    use spine_sdk::testing::{Call, fresh};
    use spine_sdk::{Value, Verdict};

    #[test]
    fn no_count_is_too_low_and_few_are_too_high() {
        fresh();
        let keys = (0..300_u64).map(|n| n << 32 | n.wrapping_mul(0x0101_0101));
        let mut too_high = 0;
        for (times, key) in (1..).zip(keys) {
            let last = (0..times).fold(0, |_, _| extension::interfaces::count(key));
            assert!(last >= times, "{key:x}: {last} of {times}");
            too_high += u32::from(last > times);
        }
        assert!(too_high < 10, "{too_high} of 300 flows in 1024 counters");
        assert_eq!(packets(), 300 * 301 / 2);
    }

    #[test]
    fn the_application_is_told_how_many() {
        fresh();
        count(7);
        count(8);
        let outcome = Call::small(&[]).run(how_many);
        assert_eq!(outcome.verdict, Verdict::Done);
        assert_eq!(outcome.to_host[0].arguments(), 2u64.to_le_bytes());
    }

    #[test]
    fn the_manifest_declares_what_is_exported() {
        let manifest = Manifest::parse(&extension::MANIFEST).unwrap();
        let flow = manifest.exports().unwrap();
        assert_eq!(flow.name(), "flow");
        let wanted = [
            ("count", Signature::new(&[Value::I64], Some(Value::I64))),
            ("packets", Signature::new(&[], Some(Value::I64))),
        ];
        assert!(flow.interfaces().map(|it| (it.name, it.signature)).eq(wanted));
    }
}
