//! The kernel alone is the oracle: random routers, once with the kernel alone and once with spine-router on top.
//!
//! From a seed comes a [script](script): a router in namespaces, what it is told, and packets. What arrives where must be
//! the same both times, packet by packet. A script that shows a difference is shrunk and printed; put
//! into `kept/`, it is a test from then on.
//!
//! Not compared: ICMP errors that the router itself sends (the kernel limits their rate), the order of packets, time. Not drawn:
//! routes with several ways (which of them a flow takes is the kernel's secret), what this kernel does not have
//! (VLAN, VRF, bond).

mod draw;
mod packets;
mod run;
mod script;
mod shrink;

use std::time::{Duration, Instant};

use spine_tests::need_namespaces;

use self::run::{Wire, differences};
use self::script::Script;

/// Seeds that are tried where nothing else is said.
const SEEDS: u64 = 60;

/// What the environment says of how many: `SPINE_DIFFERENTIAL_SEEDS=FIRST..END`, or `SPINE_DIFFERENTIAL_MINUTES=N` from a
/// seed that the clock gives.
struct Range {
    first: u64,
    end: u64,
    until: Option<Instant>,
}

impl Range {
    fn from_environment() -> Self {
        let get = |name| std::env::var(name).ok();
        if let Some(minutes) = get("SPINE_DIFFERENTIAL_MINUTES").and_then(|text| text.parse().ok())
        {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let first = now.map_or(0, |now| now.as_secs()) << 16;
            let until = Instant::now() + Duration::from_secs(60) * minutes;
            return Self { first, end: u64::MAX, until: Some(until) };
        }
        let given = get("SPINE_DIFFERENTIAL_SEEDS").and_then(|text| {
            let (first, end) = text.split_once("..")?;
            Some((first.parse().ok()?, end.parse().ok()?))
        });
        let (first, end) = given.unwrap_or((0, SEEDS));
        Self { first, end, until: None }
    }
}

/// Both wires take turns.
fn wire(seed: u64) -> Wire {
    if seed.is_multiple_of(2) { Wire::Xdp } else { Wire::Packet }
}

#[test]
fn random_routers_make_no_difference() {
    let _alone = need_namespaces!();
    let range = Range::from_environment();
    let (mut tried, mut carried, mut failed) = (0_u64, 0, Vec::new());
    for seed in range.first..range.end {
        if range.until.is_some_and(|until| until <= Instant::now()) {
            break;
        }
        let script = draw::script(seed);
        let outcome = differences(&script, wire(seed));
        carried += outcome.carried;
        tried += 1;
        if !outcome.differences.is_empty() {
            let smaller = shrink::shrink(&script, wire(seed));
            let again = differences(&smaller, wire(seed));
            println!(
                "seed {seed} on {:?}: {:#?}\n{smaller}\n{:#?}",
                wire(seed),
                again.differences,
                again.said
            );
            failed.push(seed);
        }
    }
    println!(
        "{tried} seeds, {carried} packets carried by the adapters, differences with {failed:?}"
    );
    assert_eq!(failed, [0; 0], "their scripts are above");
    assert!(tried < 20 || carried > 0, "the adapters carried nothing at all");
}

#[test]
fn scripts_that_showed_a_difference_once_make_none() {
    let _alone = need_namespaces!();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/differential/kept");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder of kept scripts")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "script"))
        .collect();
    files.sort();
    let mut failed = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a script");
        let script: Script = text.parse().expect("lines of a script");
        for wire in [Wire::Xdp, Wire::Packet] {
            let outcome = differences(&script, wire);
            if !outcome.differences.is_empty() {
                failed.push(format!("{} on {wire:?}: {:#?}", file.display(), outcome.differences));
            }
        }
    }
    assert_eq!(failed, [""; 0]);
}
