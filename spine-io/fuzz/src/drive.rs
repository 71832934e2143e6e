//! Runs the targets without a fuzzer, for so many seconds each.
#![forbid(unsafe_code)]

use std::time::Duration;

use clap::Parser;
use spine_fuzz::TARGETS;
use spine_fuzz::mutate::drive;

/// Gives the targets random mutations of their seeds
#[derive(Parser)]
struct Arguments {
    /// How long each is driven
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The same seed gives the same inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Which targets (default: all)
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TARGETS.iter().map(|target| target.name)))]
    targets: Vec<String>,
}

fn main() {
    let Arguments { seconds, seed, targets } = Arguments::parse();
    let wanted = |name| targets.is_empty() || targets.iter().any(|wanted| wanted == name);
    for target in TARGETS.iter().filter(|target| wanted(target.name)) {
        let runs = drive(target, Duration::from_secs(seconds), seed);
        println!("{}: {runs} inputs in {seconds} s, seed {seed}: no panic, no hang", target.name);
    }
}
