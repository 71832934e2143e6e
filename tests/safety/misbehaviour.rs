//! Each extension of `tests/extensions` commits its misdeed beside a neighbour that must not notice.

use spine_abi::limits::BURST;
use spine_abi::notice::Offence;
use spine_abi::{Notice, Reason};
use spine_io::ExtensionId;

use crate::scene::{OFFENDERS, Scene, budget, percentile};
use crate::screen::{self, Screen};
use crate::suite::{self, Case, Fate, PREFIX};

/// Rounds before, with and after the offender. Those with it are more than its strikes allow.
pub(crate) const BEFORE: usize = 60;
pub(crate) const WITH: usize = 150;
pub(crate) const AFTER: usize = 60;

/// Fuel that the runtime's own work on one message costs its extension at most here: copies to and
/// from the slot, and a packet of 200 bytes for the kernel (`extension/judge.rs`).
const RUNTIME: u64 = 2 * PREFIX as u64 / 16 + 50 + 200 / 16;

/// The bound on what an offender adds to its neighbours' latency, in fuel: the budget of one entry, one
/// worst-case handler on top of it, and the runtime's work on a whole burst. One trap comes on top,
/// which costs time and no fuel; that there is no more than one in a turn the scene checks.
pub(crate) fn bound() -> u64 {
    budget().entry + budget().message + BURST as u64 * RUNTIME
}

#[test]
fn every_misdeed_has_its_fate_and_the_neighbours_do_not_notice() {
    let cases = suite::cases();
    assert!(cases.len() >= 30, "only {} extensions found", cases.len());
    println!("{:<20} {:>10} {:>10} {:>10}  fate", "misdeed", "p99 before", "p99 with", "p99 after");
    for case in cases {
        match (&case.fate, case.link()) {
            (Fate::Unlinkable(message), Err(error)) => {
                assert!(error.to_string().contains(message), "{}: {error}", case.name);
                println!("{:<20} {:>32}  not linked: {error}", case.name, "");
            }
            (Fate::Unlinkable(_), Ok(_)) => panic!("{}: linked", case.name),
            (_, Err(error)) => panic!("{}: {error}", case.name),
            (Fate::Unloadable(message), Ok(image)) => unloadable(&case.name, message, &image),
            (_, Ok(image)) => commit(&case, &image),
        }
    }
}

/// The adapter refuses it, and nothing stays behind.
fn unloadable(name: &str, message: &str, image: &[u8]) {
    let mut scene = Scene::new();
    scene.run(BEFORE);
    let error = scene.load(0, image).expect_err(name);
    assert!(error.to_string().contains(message), "{name}: {error}");
    scene.run(AFTER);
    scene.settle();
    scene.assert_nothing_lost(name);
    println!("{name:<20} {:>32}  not loaded: {error}", "");
}

/// Runs on without the offender, and holds the neighbours' figures against what is promised: nothing lost, all
/// frames back, latency (in fuel) with it within the bound, and after it as `before`. The 99th percentiles
/// before, with and after it.
pub(crate) fn assert_neighbours_unharmed(
    name: &str,
    scene: &mut Scene,
    free: usize,
    before: &[u64],
    with: &[u64],
) -> [u64; 3] {
    scene.run(AFTER);
    scene.settle();
    let after = std::mem::take(&mut scene.seen.latencies);
    scene.seen.latencies = [before, with, &after].concat();
    scene.assert_nothing_lost(name);
    assert_eq!(scene.free_frames(), free, "{name}: frames");

    let [p99_before, p99_with, p99_after] =
        [before, with, &after].map(|figures| percentile(figures, 99));
    assert!(p99_with <= p99_before + bound(), "{name}: {p99_with} with it, {p99_before} before");
    assert_eq!(before.iter().max(), after.iter().max(), "{name}: latency after it");
    [p99_before, p99_with, p99_after]
}

/// Lives through a misdeed: before, with the offender, after it was unloaded.
fn commit(case: &Case, image: &[u8]) {
    let name = &case.name;
    let mut scene = Scene::new();
    scene.run(BEFORE);
    scene.settle();
    let free = scene.free_frames();
    let before = std::mem::take(&mut scene.seen.latencies);

    let offender = scene.load(0, image).unwrap_or_else(|error| panic!("{name}: {error}"));
    let screen = Screen::new();
    let granted = scene.handle(0).grant(offender, screen.grant()).expect("a frame buffer");
    scene.run(WITH);
    scene.settle();
    if name.starts_with("dma") {
        screen::begun(&granted);
    }
    let (outside, inside) = screen.changed();
    assert_eq!(outside, 0, "{name}: bytes outside of its window");
    assert_eq!(inside > 0, name == "dma_outside_window", "{name}: {inside} bytes in its window");
    let with = std::mem::take(&mut scene.seen.latencies);
    judge(case, &scene, offender);
    assert_eq!(scene.unload(offender), !matches!(case.fate, Fate::Struck(_)), "{name}");

    let [p99_before, p99_with, p99_after] =
        assert_neighbours_unharmed(name, &mut scene, free, &before, &with);
    println!("{name:<20} {p99_before:>10} {p99_with:>10} {p99_after:>10}  {:?}", case.fate);
}

#[test]
fn eight_offenders_at_once_cost_the_neighbours_eight_times_the_bound_and_no_message() {
    const NAMES: [&str; 8] = [
        "slow",
        "leak",
        "flood_host",
        "flood_peer",
        "flood_kernel",
        "flood_self",
        "infinite_loop",
        "slot_scribbler",
    ];
    let mut scene = Scene::new();
    scene.run(BEFORE);
    scene.settle();
    let before = std::mem::take(&mut scene.seen.latencies);
    let free = scene.free_frames();
    let numbers: Vec<u8> = (11..).step_by(2).take(NAMES.len()).collect();
    let mut loaded = Vec::new();
    for (name, number) in NAMES.iter().zip(&numbers) {
        let number = u16::from(*number);
        let image = suite::case(name).with_handlers([number, number + 1]).link();
        let image = image.unwrap_or_else(|error| panic!("{name}: {error}"));
        loaded.push(scene.load(0, &image).unwrap_or_else(|error| panic!("{name}: {error}")));
    }
    scene.send_to(numbers);
    scene.run(2 * WITH);
    scene.settle();
    let with = scene.seen.latencies.clone();
    let (p99_before, p99_with) = (percentile(&before, 99), percentile(&with, 99));
    println!("p99 {p99_before} before, {p99_with} with eight offenders");
    let bound = NAMES.len() as u64 * bound();
    assert!(p99_with <= p99_before + bound, "{p99_with} with them, {p99_before} before");
    for offender in loaded {
        scene.unload(offender);
    }
    scene.settle();
    scene.seen.latencies.extend(before);
    scene.assert_nothing_lost("eight");
    assert_eq!(scene.free_frames(), free);
}

/// Whether what became of the offender is its fate.
fn judge(case: &Case, scene: &Scene, offender: ExtensionId) {
    let (name, counters) = (&case.name, scene.counters());
    let dropped = |reason: &str| {
        let reason = Reason::ALL.iter().find(|known| known.name() == reason);
        let reason = *reason.unwrap_or_else(|| panic!("{name}: no such reason: {reason:?}"));
        counters.dropped.get(reason) + counters.messages_dropped.get(reason)
    };
    // What the neighbour or the offender says when the runtime let something through.
    assert_eq!(dropped("martian"), 0, "{name}: a breach");
    let limit = u64::from(budget().strikes);
    let (strikes, unloaded) = match &case.fate {
        Fate::Struck(offence) => {
            let [notice] = scene.seen.notices[..] else {
                panic!("{name}: {:?}", scene.seen.notices)
            };
            let Notice::Unloaded { extension, offence: last, strikes } = notice else {
                panic!("{name}: {notice:?}")
            };
            assert_eq!((ExtensionId(extension), u64::from(strikes)), (offender, limit), "{name}");
            let known = match last {
                Offence::OutOfFuel => "out_of_fuel",
                Offence::Trapped => "trapped",
                Offence::ReturnedEarly => "returned_early",
                Offence::Orphaned => "orphaned",
                Offence::Faulted => "faulted",
            };
            assert!(offence.is_empty() || offence == known, "{name}: {known}");
            assert!(dropped("handler_stopped") >= limit, "{name}");
            (limit, 1)
        }
        Fate::Dropped(reason) => {
            let packets = (scene.rounds - BEFORE) * OFFENDERS;
            // One that passes messages to itself has more of them than it is served.
            let all = dropped(reason) + dropped("queue_full");
            assert!(dropped(reason) > 0 && all >= packets as u64, "{name}: {all} of {packets}");
            (0, 0)
        }
        Fate::Bounded(reason) => {
            assert!(dropped(reason) > 0, "{name}: nothing was over its share");
            (0, 0)
        }
        Fate::Answered => {
            assert_eq!(dropped("bad_verdict"), 0, "{name}");
            (0, 0)
        }
        Fate::Slow | Fate::Unlinkable(_) | Fate::Unloadable(_) => (0, 0),
    };
    assert_eq!((counters.strikes, counters.unloaded), (strikes, unloaded), "{name}");
    assert_eq!(scene.seen.notices.len() as u64, unloaded, "{name}: {:?}", scene.seen.notices);
}
