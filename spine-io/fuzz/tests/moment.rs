//! Every target is driven for a moment with all other tests, so that none falls behind what it tests.

use std::time::Duration;

use spine_fuzz::TARGETS;
use spine_fuzz::mutate::drive;

#[test]
fn every_target_stands_half_a_second_of_mutations() {
    for target in TARGETS {
        let runs = drive(target, Duration::from_millis(500), fastrand::u64(..));
        assert!(runs > 20, "{}: {runs} inputs in half a second", target.name);
    }
}
