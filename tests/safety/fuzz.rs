//! Every target is driven for a moment with all other tests, so that none falls behind what it tests.

use std::path::Path;
use std::time::Duration;

use spine_client::signature::SecretKey;
use spine_fuzz::TARGETS;
use spine_fuzz::mutate::drive;
use spine_os::domain::Policy;
use spine_os::linker::Linker;

/// The video extension, linked, behind the linker's key.
fn video() -> Vec<u8> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../wasm-build");
    let path = spine_wasm_build::build("spine-video-extension", &folder).expect("it builds");
    let module = std::fs::read(path).expect("the module is there");
    let secret = SecretKey::generate().expect("randomness");
    let linker = Linker::new(secret, Policy::everything()).expect("a compiler");
    let image = linker.link(&module).unwrap_or_else(|error| panic!("{error}")).into_bytes();
    [&linker.public().to_bytes()[..], &image].concat()
}

#[test]
fn every_target_stands_half_a_second_of_mutations() {
    spine_fuzz::video::use_extension(video());
    for target in TARGETS {
        let runs = drive(target, Duration::from_millis(500), fastrand::u64(..));
        assert!(runs > 20, "{}: {runs} inputs in half a second", target.name);
    }
}
