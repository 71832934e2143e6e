//! Driving a target without a fuzzer: random mutations of its seeds.
//!
//! Blind to coverage, but it repeats: what failed is printed with its seed, and written to `failed-<target>`.

use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::Target;

/// Bytes of an input, at most.
const LONGEST: usize = 2048;
/// Inputs that are mutated further, at most.
const CORPUS: usize = 256;

/// Changes an input in one of the ways that parsers get wrong.
fn mutate(random: &mut Rng, input: &mut Vec<u8>, other: &[u8]) {
    let place = random.usize(0..=input.len());
    match random.u8(0..8) {
        0 => input.insert(place, random.u8(..)),
        1 if place < input.len() => drop(input.remove(place)),
        2 if place < input.len() => input[place] ^= 1 << random.u8(0..8),
        3 if place < input.len() => input[place] = [0, 1, 127, 128, 255][random.usize(0..5)],
        4 => input.truncate(place),
        5 => input.extend_from_slice(&other[random.usize(0..=other.len())..]),
        6 => {
            const EDGES: [u32; 6] = [0, 1, 0x7fff_ffff, u32::MAX, 1 << 16, 256];
            let number = EDGES[random.usize(0..EDGES.len())].to_le_bytes();
            for (byte, value) in input.iter_mut().skip(place).zip(number) {
                *byte = value;
            }
        }
        _ if place < input.len() => input[place] = random.u8(..),
        _ => input.push(random.u8(..)),
    }
    input.truncate(LONGEST);
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

/// Gives a target its seeds, and mutations of them until the time is over; says how many.
///
/// # Panics
/// When the target does.
pub fn drive(target: &Target, time: Duration, seed: u64) -> u64 {
    let mut random = Rng::with_seed(seed);
    let mut corpus = (target.seeds)();
    let first = corpus.len();
    let (start, mut runs) = (Instant::now(), 0);
    for input in &corpus {
        (target.run)(input);
    }
    while start.elapsed() < time {
        let mut input = corpus[random.usize(0..corpus.len())].clone();
        let other = corpus[random.usize(0..corpus.len())].clone();
        for _ in 0..=random.usize(0..6) {
            mutate(&mut random, &mut input, &other);
        }
        let trial = Trial { target, input, seed };
        (target.run)(&trial.input);
        // Some of the mutants live on, so that changes add up; the seeds stay.
        if random.u8(0..64) == 0 {
            if corpus.len() < CORPUS {
                corpus.push(trial.input.clone());
            } else {
                let place = random.usize(first..CORPUS);
                corpus[place].clone_from(&trial.input);
            }
        }
        runs += 1;
    }
    runs
}
