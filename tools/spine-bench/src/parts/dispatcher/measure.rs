//! Nanoseconds per message of the parts of the dispatcher's bench, side by side.
//!
//! The parts alternate, so that what disturbs the machine disturbs all of them.

use std::time::Instant;

use clap::ValueEnum;

use super::rig::{Family, Rig};

/// What can be measured.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Part {
    Router,
    Native,
    WithWatchdog,
    WithoutWatchdog,
}

/// Something that handles a burst.
pub(crate) type Turn = Box<dyn FnMut()>;

/// One part, ready to handle bursts of so many messages; the router is in a rig that is made so.
pub(crate) fn part(
    part: Part,
    family: Family,
    burst: usize,
    rig: fn(Family, usize) -> Rig,
) -> Turn {
    match part {
        Part::Router => {
            let mut rig = rig(family, burst);
            Box::new(move || rig.turns(1))
        }
        Part::Native => {
            let mut native = super::rig::Native::new(family);
            Box::new(move || assert_eq!(native.route(burst), burst))
        }
        Part::WithWatchdog => {
            let mut bare = super::bare::Bare::new(family, true);
            Box::new(move || bare.entry(burst))
        }
        Part::WithoutWatchdog => {
            let mut bare = super::bare::Bare::new(family, false);
            Box::new(move || bare.entry(burst))
        }
    }
}

/// Nanoseconds per message through dispatcher and router, native, with and without the watchdog: medians
/// of `runs` alternating runs of `turns` bursts.
pub(crate) fn measure(family: Family, burst: usize, turns: u64, runs: usize) -> [f64; 4] {
    let mut parts = [Part::Router, Part::Native, Part::WithWatchdog, Part::WithoutWatchdog]
        .map(|which| (part(which, family, burst, Rig::new), Vec::new()));
    for _ in 0..runs {
        for (turn, times) in &mut parts {
            let start = Instant::now();
            (0..turns).for_each(|_| turn());
            times.push(start.elapsed().as_secs_f64() * 1e9);
        }
    }
    let messages = turns as f64 * burst as f64;
    parts.map(|(_, mut times)| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2] / messages
    })
}
