//! The forwarding table of the router, native: what a look-up takes, what a change does, and how full it is.
//!
//! `spine-bench fib` loads 230,000 IPv6 routes with the prefix lengths that the Internet has and as many IPv4 /24s into one half, and looks
//! addresses up of which each depends on the answer before: in the table one after the other, a thousand again and again,
//! and anywhere in the space. Medians.

use std::hint::black_box;
use std::time::Instant;

use clap::Args;
use spine_client::memory::Region;
use spine_fib::layout::{FIRST_GROUP, IPV6_LEAVES, IPV6_NODES, REGION_BYTES};
use spine_fib::{Half, Writer};
use spine_packets::routes;
use spine_router::region::TableRegion;

/// Nanoseconds for a look-up and for a change of the forwarding table.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Routes of each family.
    #[arg(long, default_value_t = 230_000)]
    routes: usize,
    /// Look-ups in each run.
    #[arg(long, default_value_t = 1_000_000)]
    lookups: usize,
    /// Routes that are taken away and come back.
    #[arg(long, default_value_t = 100_000)]
    changes: usize,
    /// Runs of each.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

/// The addresses that are hot.
const HOT: usize = 1000;

/// A number without a pattern for another one.
fn scatter(n: usize) -> u64 {
    let mixed = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 29
}

/// One of so many things, without a pattern.
fn one_of(n: usize, count: usize) -> usize {
    usize::try_from(scatter(n) % count as u64).unwrap_or_default()
}

fn group(n: usize) -> u16 {
    FIRST_GROUP + u16::try_from(n % 500).unwrap_or(0)
}

/// Measures and prints.
pub(crate) fn main(arguments: &Arguments) {
    let table = routes::ipv6(arguments.routes);
    let region = Region::create("bench", REGION_BYTES).expect("memory");
    let region = TableRegion::new(region).expect("large enough");
    let mut writer = Writer::new(&region, 0);
    let start = Instant::now();
    for (n, (prefix, length)) in table.iter().enumerate() {
        writer.paint_ipv6(*prefix, *length, group(n)).expect("room");
    }
    let loading = start.elapsed().as_secs_f64() * 1e9 / table.len() as f64;
    let ipv4 = |n: usize| (scatter(n) & 0x7fff_ff00) as u32 | 0x100_0000;
    for n in 0..arguments.routes {
        writer.paint(ipv4(n), 24, group(n)).expect("a /24 needs no room");
    }

    let of_table = |n: usize| {
        let (prefix, length) = table[one_of(n, table.len())];
        let host = u128::from(scatter(n + 1)) << 64 | u128::from(scatter(n + 2));
        (prefix | host.checked_shr(length.into()).unwrap_or(0)).to_be_bytes()
    };
    let anywhere = |n: usize| (u128::from(scatter(n)) << 61 & !(7 << 125) | 1 << 125).to_be_bytes();
    let half = Half::new(&region, 0);
    let ipv6 = |address: &[u8; 16]| half.lookup_ipv6(address);
    let look = |name: &str, addresses: &dyn Fn(usize) -> [u8; 16]| {
        let addresses: Vec<_> = (0..arguments.lookups).map(addresses).collect();
        println!("IPv6 {name:<24} {:>8.1} ns a look-up", median(arguments, &addresses, ipv6));
    };
    look("in the table", &of_table);
    look("in the table, a thousand", &|n| of_table(n % HOT));
    look("anywhere in 2000::/3", &anywhere);
    let look = |name: &str, addresses: &dyn Fn(usize) -> u32| {
        let addresses: Vec<_> = (0..arguments.lookups).map(addresses).collect();
        let ns = median(arguments, &addresses, |address| half.lookup(*address));
        println!("IPv4 {name:<24} {ns:>8.1} ns a look-up");
    };
    look("in the table", &|n| ipv4(one_of(n, arguments.routes)));
    look("in the table, a thousand", &|n| ipv4(n % HOT));

    println!("IPv6 {:<24} {loading:>8.1} ns a route", "loading");
    let start = Instant::now();
    for n in 0..arguments.changes {
        let (prefix, length) = table[one_of(n, table.len())];
        writer.paint_ipv6(prefix, length, FIRST_GROUP + 600).expect("room");
        writer.paint_ipv6(prefix, length, FIRST_GROUP + 601).expect("room");
    }
    let change = start.elapsed().as_secs_f64() * 1e9 / (2 * arguments.changes) as f64;
    println!("IPv6 {:<24} {change:>8.1} ns a route", "changes");
    let (nodes, leaves) = writer.ipv6_taken();
    println!("IPv6 {nodes} of {IPV6_NODES} nodes, {leaves} of {IPV6_LEAVES} groups of nodes");
    let bytes = nodes as usize * 24 + leaves as usize * 2;
    println!("IPv6 {:.1} MB of a half are in use", (bytes as f64 + f64::from(1 << 20)) / 1e6);
}

/// Nanoseconds for one look-up of these, each of which waits for the one before: the median of some runs.
fn median<A>(arguments: &Arguments, addresses: &[A], lookup: impl Fn(&A) -> u16) -> f64 {
    let run = || {
        let (start, mut before) = (Instant::now(), 0);
        for at in 0..addresses.len() {
            // A group is below 4096, so this adds nothing; the processor does not know.
            before = lookup(&addresses[at + usize::from(before >> 15)]);
        }
        black_box(before);
        start.elapsed().as_secs_f64() * 1e9 / addresses.len() as f64
    };
    let mut times: Vec<f64> = (0..arguments.runs).map(|_| run()).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
