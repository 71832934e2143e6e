//! An application that takes the pages of its region away again, while its extension runs.

use std::fs;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::fcntl::{FallocateFlags, fallocate};
use spine_abi::limits::STRIKES;
use spine_abi::notice::Offence;
use spine_abi::{HandlerNumber, Notice};
use spine_client::memory::Region;
use spine_io::{ExtensionId, RegionSource};

use crate::scene::{Scene, budget};
use crate::suite;

/// Bytes of the region: 512 pages, and the extension comes by all of them.
const BYTES: usize = 2 << 20;
const MESSAGES: HandlerNumber = HandlerNumber(22);

struct Walk {
    scene: Scene,
    region: Region,
    extension: ExtensionId,
}

impl Walk {
    fn new() -> Self {
        let mut scene = Scene::new();
        let region = Region::create("taken", BYTES).expect("memory");
        let file = region.file().try_clone().expect("a descriptor").into();
        let regions = vec![RegionSource { file, bytes: region.len() }];
        let image = suite::good("walker");
        let loaded = scene.handle(0).prepare(&image, regions, budget()).expect("it loads");
        let extension = scene.adapter(0).install(loaded).expect("its numbers are free");
        Self { scene, region, extension }
    }

    /// Takes away every page of the region.
    fn take(region: &Region) {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let bytes = i64::try_from(BYTES).expect("small");
        fallocate(region.file().as_fd(), flags, 0, bytes).expect("nothing keeps him from it");
    }

    /// One message; how long the round with it took.
    fn message(&mut self) -> Duration {
        self.scene.tell(MESSAGES, b"walk");
        let start = Instant::now();
        self.scene.run(1);
        start.elapsed()
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn an_extension_whose_memory_is_taken_away_all_the_time_is_struck_out() {
    let mut walk = Walk::new();
    let with_it = median((0..100).map(|_| walk.message()).collect());
    let mut times = Vec::new();
    // It is looked at now and then until it is suspected, and from then on always.
    for _ in 0..1000 {
        Walk::take(&walk.region);
        times.push(walk.message());
        if !walk.scene.seen.notices.is_empty() {
            break;
        }
    }
    println!("a round takes {with_it:?}, and {:?} without its pages", median(times));
    let extension = walk.extension.0;
    let struck_out = Notice::Unloaded { extension, offence: Offence::Faulted, strikes: STRIKES };
    assert_eq!(walk.scene.seen.notices, [struck_out]);
    assert_eq!(walk.scene.counters().strikes, u64::from(STRIKES));
    walk.scene.settle();
    walk.scene.assert_nothing_lost("taken");
}

#[test]
fn one_whose_memory_is_taken_away_once_or_not_at_all_is_not() {
    let mut walk = Walk::new();
    for _ in 0..600 {
        walk.message();
    }
    Walk::take(&walk.region);
    for _ in 0..600 {
        walk.message();
    }
    assert_eq!(walk.scene.counters().strikes, 0);
}

/// Taking pages away from another thread all the time hurts nobody else, and does not kill the process.
#[test]
fn holes_punched_at_any_moment_are_survived() {
    let mut walk = Walk::new();
    let stop = AtomicBool::new(false);
    let file = walk.region.file().try_clone().expect("a descriptor");
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            let bytes = i64::try_from(BYTES).expect("small");
            while !stop.load(Relaxed) {
                fallocate(file.as_fd(), flags, 0, bytes).expect("punched");
            }
        });
        for _ in 0..300 {
            walk.message();
        }
        stop.store(true, Relaxed);
    });
    walk.scene.settle();
    walk.scene.assert_nothing_lost("holes");
}

#[test]
fn children_do_not_get_an_extensions_memory() {
    let _walk = Walk::new();
    let maps = fs::read_to_string("/proc/self/smaps").expect("our own maps");
    let mut flags = maps.split("VmFlags:").zip(maps.split("VmFlags:").skip(1));
    // The extension's mapping of the region lies behind its own memory; the application's is elsewhere.
    let kept = flags.any(|(mapping, after)| {
        let line = after.lines().next().unwrap_or("");
        mapping.contains("memfd:spine:taken") && line.split(' ').any(|flag| flag == "dc")
    });
    assert!(kept, "a region that a fork would copy");
}
