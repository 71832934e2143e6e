//! Runs the targets without a fuzzer: random mutations of the seeds, for so many seconds each.
//!
//!     cargo run --release --bin drive -- [--seconds N] [--seed N] [TARGET...]
//!
//! Blind to coverage, but it repeats: what failed is printed with its seed, and written to `failed-<target>`.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use spine_fuzz::{TARGETS, Target};

/// Bytes of an input, at most.
const LONGEST: usize = 2048;
/// Inputs that are mutated further, at most.
const CORPUS: usize = 256;

/// Numbers that repeat by their seed (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[7]
    }

    /// Changes an input in one of the ways that parsers get wrong.
    fn mutate(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let place = self.below(input.len() + 1);
        match self.below(8) {
            0 => input.insert(place, self.byte()),
            1 if place < input.len() => drop(input.remove(place)),
            2 if place < input.len() => input[place] ^= 1 << self.below(8),
            3 if place < input.len() => input[place] = [0, 1, 127, 128, 255][self.below(5)],
            4 => input.truncate(place),
            5 => input.extend_from_slice(&other[self.below(other.len() + 1).min(other.len())..]),
            6 => {
                let number =
                    [0, 1, 0x7fff_ffff, u32::MAX, 1 << 16, 256][self.below(6)].to_le_bytes();
                for (byte, value) in input.iter_mut().skip(place).zip(number) {
                    *byte = value;
                }
            }
            _ if place < input.len() => input[place] = self.byte(),
            _ => input.push(self.byte()),
        }
        input.truncate(LONGEST);
    }
}

/// Says what was being tried if the target panics.
struct Trial<'a> {
    target: &'a Target,
    input: Vec<u8>,
    seed: u64,
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let file = format!("failed-{}", self.target.name);
            let written = std::fs::write(&file, &self.input);
            eprintln!(
                "{}: fails with seed {}; input in {file}: {written:?}",
                self.target.name, self.seed
            );
        }
    }
}

fn drive(target: &Target, time: Duration, seed: u64) -> u64 {
    let mut random = Random(seed.max(1));
    let mut corpus = (target.seeds)();
    let (start, mut runs) = (Instant::now(), 0);
    for input in &corpus {
        (target.run)(input);
    }
    while start.elapsed() < time {
        let mut input = corpus[random.below(corpus.len())].clone();
        let other = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(6) {
            random.mutate(&mut input, &other);
        }
        let trial = Trial { target, input, seed };
        (target.run)(&trial.input);
        // Some of the mutants live on, so that changes add up; the seeds stay.
        if random.below(64) == 0 {
            let first = (target.seeds)().len();
            if corpus.len() < CORPUS {
                corpus.push(trial.input.clone());
            } else {
                let place = first + random.below(CORPUS - first);
                corpus[place].clone_from(&trial.input);
            }
        }
        runs += 1;
    }
    runs
}

fn main() -> ExitCode {
    let (mut seconds, mut seed, mut names) = (60, 1, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let number = |text: Option<String>| text.and_then(|text| text.parse::<u64>().ok());
        match argument.as_str() {
            "--seconds" | "--seed" => {
                let Some(value) = number(arguments.next()) else {
                    eprintln!("drive: {argument} takes a number");
                    return ExitCode::from(2);
                };
                if argument == "--seed" { seed = value } else { seconds = value }
            }
            name if TARGETS.iter().any(|target| target.name == name) => names.push(argument),
            other => {
                let known: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
                eprintln!("drive: there is no target {other}; there are {}", known.join(", "));
                return ExitCode::from(2);
            }
        }
    }
    for target in TARGETS.iter().filter(|t| names.is_empty() || names.iter().any(|n| n == t.name)) {
        let runs = drive(target, Duration::from_secs(seconds), seed);
        println!("{}: {runs} inputs in {seconds} s, seed {seed}: no panic, no hang", target.name);
    }
    ExitCode::SUCCESS
}
