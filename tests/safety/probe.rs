//! What one budget takes, as an adapter measures it at start, and turns that take longer.

use std::time::{Duration, Instant};

use spine_abi::{HandlerNumber, Nanos};
use spine_io::{Budget, RegionSource};
use spine_os::probe::{self, BudgetTimes, PROBES};

use crate::scene::{OFFENDER, Scene, machine, packet};
use crate::suite;

fn region() -> RegionSource {
    let region = probe::region().expect("a region");
    let file = region.file().try_clone().expect("a descriptor").into();
    RegionSource { file, bytes: region.len() }
}

#[test]
fn an_adapter_times_its_worst_cases_and_they_are_worse_than_the_ordinary() {
    let (machine, _wires) = machine(1);
    let image = suite::linker().link(&probe::module()).expect("the probe links").into_bytes();
    let adapter = &machine.adapters()[0];
    let nanos = adapter.probe(&image, vec![region()], Budget::default()).expect("it runs");
    assert_eq!(nanos.len(), PROBES.len());
    for (name, nanos) in PROBES.iter().zip(&nanos) {
        println!("{name}: {nanos} ns");
        assert!(*nanos > 100, "{name}: 8000 units in {nanos} ns");
    }
    let times = BudgetTimes::from_nanos(&nanos).expect("figures");
    println!("{times}");
    assert!(times.worst > 2 * times.ordinary, "{times}");
    // The probe is gone: no message finds its handlers, and all of its memory is back.
    let counters = adapter.statistics().expect("an answer").counters;
    assert_eq!((counters.entries, counters.strikes), (0, 0));
}

/// What is printed at start is a promise to neighbours: somebody else's module that does its worst takes no longer. The
/// best of a few tries on both sides, since the machine may take some of each.
#[test]
fn a_stranger_with_cold_memory_takes_no_longer_than_what_is_said_at_start() {
    const TRIES: usize = 5;
    let (machine, mut wires) = machine(1);
    let image = suite::linker().link(&probe::module()).expect("the probe links").into_bytes();
    let adapter = &machine.adapters()[0];
    let nanos = adapter.probe(&image, vec![region()], Budget::default()).expect("it runs");
    let said = BudgetTimes::from_nanos(&nanos).expect("figures").worst;
    let image = suite::case("cold_chase").link().expect("it links");
    let took = (0..TRIES).map(|_| {
        let id = adapter.load(&image, Vec::new(), Budget::default()).expect("it loads");
        assert!(wires[0].inject(&packet(OFFENDER, 0, 0)), "room on the wire");
        let end = Instant::now() + Duration::from_secs(10);
        let bill = loop {
            let known = adapter.statistics().expect("an answer").extensions;
            let bill = known.iter().find(|it| it.id == id).expect("it is there").bill;
            if bill.messages == 1 {
                break bill;
            }
            assert!(Instant::now() < end, "its message was not handled");
            std::thread::yield_now();
        };
        assert!(adapter.unload(id).expect("an answer"));
        Duration::from_nanos(bill.nanos)
    });
    let took = took.min().expect("a few tries");
    println!("said {said:?}, took {took:?}");
    assert!(took <= 2 * said, "{took:?} where {said:?} was said");
}

#[test]
fn a_probe_without_its_region_is_refused() {
    let (machine, _wires) = machine(1);
    let image = suite::linker().link(&probe::module()).expect("the probe links").into_bytes();
    let adapter = &machine.adapters()[0];
    assert!(adapter.probe(&image, Vec::new(), Budget::default()).is_err());
}

#[test]
fn a_turn_that_takes_longer_than_its_work_is_counted_and_is_no_strike() {
    let mut scene = Scene::new();
    let number = HandlerNumber(2);
    let mut at = 1_000_000;
    let turn = |scene: &mut Scene, work: bool, at: u64| {
        if work {
            scene.tell(number, b"neighbour");
        }
        scene.adapter(0).turn(Nanos(at));
    };
    // Nothing is counted before the adapter knows what to expect.
    for _ in 0..3 {
        at += 1_000_000_000;
        turn(&mut scene, true, at);
    }
    assert_eq!(scene.counters().overruns, 0);
    scene.handle(0).expect(Duration::from_micros(500)).expect("a queue");
    turn(&mut scene, true, at);
    turn(&mut scene, true, at + 400_000);
    assert_eq!(scene.counters().overruns, 0, "within what its work takes");
    turn(&mut scene, false, at + 2_000_000);
    assert_eq!(scene.counters().overruns, 1, "1.6 ms where 0.5 are expected");
    turn(&mut scene, false, at + 9_000_000);
    assert_eq!(scene.counters().overruns, 1, "a turn without work may take any time");
    assert_eq!(scene.counters().strikes, 0);
}
