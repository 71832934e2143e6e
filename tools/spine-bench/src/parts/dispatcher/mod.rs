//! A packet's way through the dispatcher and the router extension, beside native code: nanoseconds per message as medians of
//! alternating runs, or one part alone for an instruction counter.
//!
//! `spine-bench dispatch` prints the table. `valgrind --tool=callgrind spine-bench dispatch --only router --turns N`
//! with two values of N gives instructions per message by difference.

mod bare;
mod measure;
mod rig;

use clap::Args;

use self::measure::{Part, measure, part};
use self::rig::Family;

/// Nanoseconds per message through the dispatcher and the router extension.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Run one part only, without measuring it.
    #[arg(long)]
    only: Option<Part>,
    /// Which packets.
    #[arg(long, value_enum, default_value = "ipv4")]
    family: Family,
    /// Messages in a burst (default: 1, 8, 32 and 64, one after the other; with --only 32).
    #[arg(long)]
    burst: Option<usize>,
    /// Bursts in each run.
    #[arg(long, default_value_t = 20_000)]
    turns: u64,
    /// Runs of each part, alternating.
    #[arg(long, default_value_t = 9)]
    runs: usize,
}

/// Measures and prints.
pub(crate) fn main(arguments: &Arguments) {
    if let Some(only) = arguments.only {
        let mut turn =
            part(only, arguments.family, arguments.burst.unwrap_or(32), rig::Rig::standing_still);
        (0..arguments.turns).for_each(|_| turn());
        return;
    }
    println!("ns per message, medians of {} runs of {} bursts", arguments.runs, arguments.turns);
    println!("burst  dispatcher+router  native  ratio  watchdog");
    let bursts = arguments.burst.map_or_else(|| vec![1, 8, 32, 64], |burst| vec![burst]);
    for burst in bursts {
        let [router, native, with, without] =
            measure(arguments.family, burst, arguments.turns, arguments.runs);
        println!(
            "{burst:>5}  {router:>17.1}  {native:>6.1}  {:>5.2}  {:>8.1}",
            router / native,
            with - without
        );
    }
    println!("fuel per message: {}", rig::Rig::new(arguments.family, 32).fuel_per_message());
}
