//! Runs the dispatcher's bench for a given number of packets: nanoseconds per message as medians of
//! alternating runs, or one part alone for an instruction counter.
//!
//! `dispatch-load` prints the table. `valgrind --tool=callgrind dispatch-load --only router --turns N`
//! with two values of N gives instructions per message by difference.

#[path = "measure.rs"]
mod measure;
#[path = "rig.rs"]
mod rig;
#[path = "watchdog.rs"]
mod watchdog;

use clap::Parser;

use crate::measure::{Part, measure, part};

/// Nanoseconds per message through the dispatcher and the router extension.
#[derive(Parser)]
struct Arguments {
    /// Run one part only, without measuring it.
    #[arg(long)]
    only: Option<Part>,
    /// Messages in a burst (with --only).
    #[arg(long, default_value_t = 32)]
    burst: usize,
    /// Bursts in each run.
    #[arg(long, default_value_t = 20_000)]
    turns: u64,
    /// Runs of each part, alternating.
    #[arg(long, default_value_t = 9)]
    runs: usize,
}

fn main() {
    let arguments = Arguments::parse();
    if let Some(only) = arguments.only {
        let mut turn = part(only, arguments.burst);
        (0..arguments.turns).for_each(|_| turn());
        return;
    }
    println!("ns per message, medians of {} runs of {} bursts", arguments.runs, arguments.turns);
    println!("burst  dispatcher+router  native  ratio  watchdog");
    for burst in [1, 8, 32, 64] {
        let [router, native, with, without] = measure(burst, arguments.turns, arguments.runs);
        println!(
            "{burst:>5}  {router:>17.1}  {native:>6.1}  {:>5.2}  {:>8.1}",
            router / native,
            with - without
        );
    }
    println!("fuel per message: {}", rig::Rig::new(32).fuel_per_message());
}
