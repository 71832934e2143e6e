//! Time is what is shared: dear extensions of one owner, and somebody else's beside them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use spine_abi::limits::{BURST, ENTRY_NANOS, FUEL_PER_MESSAGE};
use spine_io::stats::ExtensionStatistics;
use spine_io::{Budget, ExtensionId, User};
use spine_nic::clock::Clock as _;

use super::{GOOD_OWNER, Street};
use crate::scene::{machine, packet};
use crate::suite::{self, Case};

/// The handlers of four of one owner's, and that owner.
const DEAR: [u8; 4] = [11, 13, 15, 17];
const DEAR_OWNER: User = User(4001);
/// What a message of theirs takes: a pointer chase through cold memory with a usual budget.
const MESSAGE: u64 = 700_000;
/// Uses most of a message's fuel and gives its packet to the kernel, which takes as long as cold memory would have.
const DEAR_MODULE: &str = r#";; domains: kernel
    (module
      (import "spine:core" "next" (func $next (param i64) (result i64)))
      (memory (export "memory") 1)
      (func (export "run") (local $slot i32) (local $left i32) (local $verdict i64)
        (loop $again
          (local.set $slot (i32.wrap_i64 (call $next (local.get $verdict))))
          (if (i32.eqz (local.get $slot)) (then (return)))
          (local.set $left (i32.const 1000))
          (loop $more
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $more (local.get $left)))
          (local.set $verdict (i64.const 0xe04))
          (br $again))))"#;
/// Nanoseconds between two packets of the good one's, and as often one for each of the others.
const EVERY: u64 = 100_000;

/// Four that give every packet to a dear kernel, beside the good one, for two seconds of virtual time.
fn beside_dear_ones(measured: bool) -> Street {
    let mut street = Street::new(MESSAGE, measured);
    street.load(&suite::good("neighbour"), GOOD_OWNER, Budget::default()).expect("the good one");
    for handler in DEAR {
        let numbers = [u16::from(handler), u16::from(handler) + 1];
        let image = Case::made("dear", DEAR_MODULE.to_owned(), numbers).link().expect("it links");
        street.load(&image, DEAR_OWNER, Budget::default()).expect("it loads");
    }
    let mut sent = 0;
    while street.clock.now().0 < 2_000_000_000 {
        let due = street.clock.now().0 / EVERY;
        while sent < due {
            sent += 1;
            street.send_good();
            for handler in DEAR {
                street.send_to(handler);
            }
        }
        street.turn();
    }
    street.settle();
    street
}

#[test]
fn four_dear_extensions_of_one_owner_take_no_packet_of_anothers() {
    let street = beside_dear_ones(true);
    let served = street.counters().to_kernel.total();
    println!("{} of hers came, {} lost; {served} of theirs", street.came, street.lost);
    assert_eq!(street.lost, 0, "{} came", street.came);
    assert!(street.came > 10_000, "{} came", street.came);
    // They have what she does not use: nearly all of the time.
    assert!(served * MESSAGE > 1_500_000_000, "{served} of theirs");
    // By fuel alone they cost next to nothing, and she loses most of hers: so the above is due to time.
    let by_fuel = beside_dear_ones(false);
    println!("by fuel alone: {} of hers came, {} lost", by_fuel.came, by_fuel.lost);
    assert!(by_fuel.lost > by_fuel.came, "{} came, {} lost", by_fuel.came, by_fuel.lost);
}

#[test]
fn rows_and_bills_are_all_of_the_time_in_which_the_adapter_was_busy() {
    let mut street = beside_dear_ones(true);
    let gone = street.adapters[0].statistics().extensions[1].clone();
    assert!(gone.bill.nanos > 0 && gone.bill.messages > 0, "{gone:?}");
    assert!(street.adapters[0].unload(gone.id));
    let statistics = street.adapters[0].statistics();
    let times = statistics.times;
    let bills: u64 = statistics.extensions.iter().map(|it| it.bill.nanos).sum();
    let rows = times.receive + times.send + times.control + times.gone;
    assert_eq!(rows + bills, times.busy, "{times:?}");
    assert!(times.gone >= gone.bill.nanos, "{times:?}");
    let sum = |of: fn(&ExtensionStatistics) -> u64| -> u64 {
        statistics.extensions.iter().map(of).sum::<u64>() + of(&gone)
    };
    assert_eq!(sum(|it| it.bill.entries), statistics.counters.entries);
    assert_eq!(sum(|it| it.bill.fuel), statistics.counters.fuel);
    assert_eq!(sum(|it| it.bill.messages), statistics.counters.handled);
    let owner = statistics.extensions.iter().find(|it| it.name == "neighbour").expect("she is");
    assert_eq!(owner.user, GOOD_OWNER);
}

/// On the real clock, and with memory that is really cold. That its fuel follows from its price is arithmetic on what the
/// machine itself has measured, whatever that is.
#[test]
fn cold_memory_is_given_less_fuel_and_struck_out_and_its_neighbour_loses_nothing() {
    const PACKETS: u32 = 3_000;
    let (machine, mut wires) = machine(1);
    let adapter = &machine.adapters()[0];
    let load = |image: &[u8], owner: User| -> ExtensionId {
        let mut loaded = adapter.prepare(image, Vec::new(), Budget::default()).expect("it loads");
        loaded.set_user(owner);
        adapter.install(loaded).expect("its numbers are free")
    };
    load(&suite::good("neighbour"), GOOD_OWNER);
    for handler in DEAR {
        let numbers = [u16::from(handler), u16::from(handler) + 1];
        let image = suite::case("cold_chase").with_handlers(numbers).link().expect("it links");
        load(&image, DEAR_OWNER);
    }
    let (mut sent, mut came) = (0, 0);
    let mut known: BTreeMap<u16, ExtensionStatistics> = BTreeMap::new();
    let end = Instant::now() + Duration::from_secs(60);
    while came < PACKETS {
        assert!(Instant::now() < end, "{came} of {sent} came");
        // Half a burst under way at the most: what waits is not lost then, and what is lost never comes.
        if sent < PACKETS && sent - came < u32::try_from(BURST / 2).expect("few") {
            sent += u32::from(wires[0].inject(&packet(super::GOOD, 0, sent)));
            for handler in DEAR {
                wires[0].inject(&packet(handler, 0, sent));
            }
        }
        while wires[1].take().is_some() {
            came += 1;
        }
        if came % 16 == 0 {
            let there = adapter.statistics().expect("an answer").extensions;
            let dear = there.into_iter().filter(|it| it.user == DEAR_OWNER);
            known.extend(dear.map(|it| (it.id.0, it)));
        }
        std::thread::yield_now();
    }
    let counters = adapter.statistics().expect("an answer").counters;
    println!("{came} came; {} of the others were struck out", counters.unloaded);
    assert!(!known.is_empty(), "nobody was there to see");
    for one in known.values() {
        println!("{one:?}");
        // Whoever is dear is stopped for it; on a machine with large caches nobody may be.
        let dear = one.picos_per_unit * FUEL_PER_MESSAGE > 2 * ENTRY_NANOS * 1000;
        assert!(!dear || one.bill.too_dear > 0 || one.bill.entries < 10, "{one:?}");
    }
}
