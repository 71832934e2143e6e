//! Who ends an extension does not wait until its memory is given back.

use std::fs;
use std::time::{Duration, Instant};

use spine_client::memory::Region;
use spine_io::extension::Loaded;
use spine_io::{LoadError, RegionSource};

use crate::scene::{Scene, budget};
use crate::suite;

/// Bytes of the region: giving them back takes the system far longer than anything else does here.
const BYTES: usize = 64 << 20;
const NAME: &str = "spine:ended";

fn prepare(scene: &Scene, image: &[u8]) -> Loaded {
    let region = Region::create("ended", BYTES).expect("memory");
    let file = region.file().try_clone().expect("a descriptor").into();
    let regions = vec![RegionSource { file, bytes: region.len() }];
    scene.handle(0).prepare(image, regions, budget()).expect("it loads")
}

fn timed<T>(times: &mut Vec<Duration>, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    times.push(start.elapsed());
    result
}

/// The shortest: on a busy machine the thread that takes instances apart may be given our core at once.
fn least(times: &[Duration]) -> Duration {
    times.iter().copied().min().unwrap_or_default()
}

#[test]
fn an_adapter_does_not_wait_while_an_extension_is_taken_apart() {
    let (mut scene, image) = (Scene::new(), suite::good("shared"));
    let (mut here, mut unloaded, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..7 {
        let loaded = prepare(&scene, &image);
        timed(&mut here, || drop(loaded));

        let loaded = prepare(&scene, &image);
        let extension = scene.adapter(0).install(loaded).expect("its numbers are free");
        let second = prepare(&scene, &image);
        let error = timed(&mut refused, || scene.adapter(0).install(second)).unwrap_err();
        assert!(matches!(error, LoadError::HandlerTaken { .. }), "{error}");
        assert!(timed(&mut unloaded, || scene.adapter(0).unload(extension)));
    }
    let [here, unloaded, refused] = [&here, &unloaded, &refused].map(|times| least(times));
    println!("taken apart in {here:?}, unloaded in {unloaded:?}, refused in {refused:?}");
    assert!(4 * unloaded < here, "unloaded in {unloaded:?}, taken apart in {here:?}");
    assert!(4 * refused < here, "refused in {refused:?}, taken apart in {here:?}");

    // And it is given back all the same.
    let end = Instant::now() + Duration::from_secs(10);
    while fs::read_to_string("/proc/self/maps").expect("our own maps").contains(NAME) {
        assert!(Instant::now() < end, "a region is still mapped");
        std::thread::sleep(Duration::from_millis(10));
    }
}
