//! Loading, tormenting and unloading, over and over: every pool is as full as at the start, and no file
//! descriptor or mapping stays behind.
//!
//! A test binary of its own: others, running beside it, would open files and map memory, too.
//! `SPINE_CHURN` is how often (10,000 by default); it stops after 12 seconds, so that a slow machine is
//! still done in time, but not before a thousand.

#[allow(dead_code, reason = "shared with the other safety tests")]
mod scene;
#[allow(dead_code, reason = "shared with the other safety tests")]
mod suite;
mod wires;

use std::fs;
use std::time::{Duration, Instant};

use scene::Scene;
use spine_io::Budget;

const ROUNDS: usize = 10_000;
const LEAST: usize = 1_000;
const TIME: Duration = Duration::from_secs(12);

/// Misdeeds of every kind: stopped, trapped, struck by the linker's exception, greedy.
const NAMES: [&str; 9] = [
    "infinite_loop",
    "trap_storm",
    "leak",
    "stale_buffer",
    "flood_self",
    "deep_recursion",
    "timer_storm",
    "flood_host",
    "flood_peer",
];
/// How long extensions may take to be taken apart, beside the adapter.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a process has that could leak.
#[derive(Debug, PartialEq, Eq)]
struct Holdings {
    descriptors: usize,
    mappings: usize,
    regions: usize,
    frames: usize,
}

impl Holdings {
    fn of(scene: &mut Scene) -> Self {
        let count = |path| fs::read_dir(path).expect("our own process").count();
        let maps = fs::read_to_string("/proc/self/maps").expect("our own maps");
        // The allocator's own mappings come and go; what loading adds has a name or is a reservation.
        let ours = |line: &&str| {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let end = |text: &str| u64::from_str_radix(text, 16).unwrap_or(0);
            let bytes = range.map_or(0, |(start, stop)| end(stop) - end(start));
            line.contains("memfd:") || bytes >= 1 << 30
        };
        Self {
            descriptors: count("/proc/self/fd"),
            mappings: maps.lines().filter(ours).count(),
            regions: maps.lines().filter(|line| line.contains("spine:churn")).count(),
            frames: scene.free_frames(),
        }
    }
}

/// Kilobytes of memory the process has, and of address space.
fn memory() -> (u64, u64) {
    let status = fs::read_to_string("/proc/self/status").expect("our own status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    (field("VmRSS:"), field("VmSize:"))
}

#[test]
fn ten_thousand_extensions_later_everything_is_as_at_the_start() {
    let rounds = std::env::var("SPINE_CHURN").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let limited = std::env::var_os("SPINE_CHURN").is_none();
    let images: Vec<Vec<u8>> =
        NAMES.iter().map(|name| suite::case(name).link().expect(name)).collect();
    let shared = suite::good("shared");
    let mut scene = Scene::new();
    // Once through everything first: what is allocated once stays.
    torment(&mut scene, &images, &shared, 2 * images.len());
    let before = settled(&mut scene);
    let (resident, mapped) = memory();

    let start = Instant::now();
    let mut done = 0;
    while done < rounds && (done < LEAST || !limited || start.elapsed() < TIME) {
        torment(&mut scene, &images, &shared, 100);
        done += 100;
    }
    let end = Instant::now() + PATIENCE;
    let mut after = Holdings::of(&mut scene);
    while after != before && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
        after = Holdings::of(&mut scene);
    }
    let (resident_after, mapped_after) = memory();
    println!(
        "{done} extensions in {:.1} s; resident {resident} -> {resident_after} KiB, \
         mapped {mapped} -> {mapped_after} KiB",
        start.elapsed().as_secs_f64()
    );
    assert_eq!(before, after);
    // Two pages a hundred extensions would be a leak of 80 bytes each: less than any of theirs.
    let allowed = 4 * 1024 + done as u64 / 100 * 8;
    assert!(resident_after <= resident + allowed, "{resident} -> {resident_after} KiB");
    assert!(mapped_after <= mapped + (1 << 20), "{mapped} -> {mapped_after} KiB");
    scene.run(10);
    scene.settle();
    scene.assert_nothing_lost("churn");
}

/// What there is when nothing is being taken apart any more: no region of theirs is mapped.
fn settled(scene: &mut Scene) -> Holdings {
    let end = Instant::now() + PATIENCE;
    let mut found = Holdings::of(scene);
    while found.regions > 0 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
        found = Holdings::of(scene);
    }
    assert_eq!(found.regions, 0, "regions of extensions that were unloaded");
    found
}

/// Loads one extension after the other, lets it misbehave for a round, and takes it away in the middle;
/// or the watchdog does, for every other one that is stopped.
fn torment(scene: &mut Scene, images: &[Vec<u8>], shared: &[u8], rounds: usize) {
    for round in 0..rounds {
        let image = &images[round % images.len()];
        let strikes = if (round / images.len()).is_multiple_of(2) { u32::MAX } else { 1 };
        let offender = scene.load_with(0, image, Budget { strikes, ..Budget::default() });
        let offender = offender.unwrap_or_else(|error| panic!("{error}"));
        let region = scene.load_with_region(0, shared);
        let strikes_before = scene.counters().strikes;
        scene.run(1);
        let struck_out = strikes == 1 && scene.counters().strikes > strikes_before;
        assert_eq!(scene.unload(offender), !struck_out);
        assert!(scene.unload(region));
    }
    scene.settle();
}
