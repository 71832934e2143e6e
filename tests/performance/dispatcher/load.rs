//! Runs the dispatcher's bench for a given number of packets: nanoseconds per message as medians of
//! alternating runs, or one part alone for an instruction counter.
//!
//! `dispatch-load` prints the table. `valgrind --tool=callgrind dispatch-load --only router --turns N`
//! with two values of N gives instructions per message by difference.

#[path = "rig.rs"]
mod rig;
#[path = "watchdog.rs"]
mod watchdog;

use std::time::Instant;

use clap::{Parser, ValueEnum};

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

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    Router,
    Native,
    WithWatchdog,
    WithoutWatchdog,
}

/// Something that handles a burst.
type Turn = Box<dyn FnMut()>;

fn part(part: Part, burst: usize) -> Turn {
    match part {
        Part::Router => {
            let mut rig = rig::Rig::new(burst);
            Box::new(move || rig.turns(1))
        }
        Part::Native => {
            let mut native = rig::Native::new();
            Box::new(move || assert_eq!(native.route(burst), burst))
        }
        Part::WithWatchdog => {
            let mut bare = watchdog::Bare::new(true);
            Box::new(move || bare.entry(burst))
        }
        Part::WithoutWatchdog => {
            let mut bare = watchdog::Bare::new(false);
            Box::new(move || bare.entry(burst))
        }
    }
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
        let [router, native, with, without] = measure(burst, &arguments);
        println!(
            "{burst:>5}  {router:>17.1}  {native:>6.1}  {:>5.2}  {:>8.1}",
            router / native,
            with - without
        );
    }
    println!("fuel per message: {}", rig::Rig::new(32).fuel_per_message());
}

fn measure(burst: usize, arguments: &Arguments) -> [f64; 4] {
    let mut parts = [Part::Router, Part::Native, Part::WithWatchdog, Part::WithoutWatchdog]
        .map(|which| (part(which, burst), Vec::new()));
    for _ in 0..arguments.runs {
        for (turn, times) in &mut parts {
            let start = Instant::now();
            (0..arguments.turns).for_each(|_| turn());
            times.push(start.elapsed().as_secs_f64() * 1e9);
        }
    }
    let messages = arguments.turns as f64 * burst as f64;
    parts.map(|(_, mut times)| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2] / messages
    })
}
