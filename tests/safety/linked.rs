//! Extensions that call each other, beside a neighbour that must not notice: an exporter that traps or never
//! comes back, an importer that floods it, and both going while messages wait for them.

use std::path::Path;

use spine_abi::declaration::{InterfaceDeclaration, Signature, build, length};
use spine_abi::image::Image;
use spine_abi::interface::Value;
use spine_abi::notice::Offence;
use spine_abi::{HandlerNumber, Notice};
use spine_io::ExtensionId;
use spine_os::domain::Exports;

use crate::misbehaviour::{AFTER, BEFORE, WITH, assert_neighbours_unharmed};
use crate::scene::Scene;
use crate::suite;

const fn interface(name: &str, result: Option<Value>) -> InterfaceDeclaration<'_> {
    InterfaceDeclaration { name, signature: Signature::new(&[], result) }
}

const SERVICE: [u8; length(4)] = build(
    "service",
    &[
        interface("count", Some(Value::I64)),
        interface("trap", None),
        interface("loop", None),
        interface("recurse", None),
    ],
);

/// The exporter, and one that calls it.
struct Pair {
    service: Vec<u8>,
    caller: Vec<u8>,
}

impl Pair {
    fn new(caller: &str) -> Self {
        let service = suite::linked("service", &SERVICE, &Exports::none());
        let image = Image::parse(&service).expect("an image");
        let caller = suite::linked(caller, &[], &Exports::none().with(&image));
        Self { service, caller }
    }

    fn load(&self, scene: &mut Scene) -> [ExtensionId; 2] {
        [&self.service, &self.caller].map(|image| scene.load(0, image).expect("it loads"))
    }
}

/// Lives through a pair's time beside the neighbour; the notices of it are the answer.
fn live(name: &str) -> (Vec<Notice>, [ExtensionId; 2], Scene) {
    let mut scene = Scene::new();
    scene.run(BEFORE);
    scene.settle();
    let free = scene.free_frames();
    let before = std::mem::take(&mut scene.seen.latencies);
    let pair = Pair::new(name).load(&mut scene);
    scene.run(WITH);
    scene.settle();
    let with = std::mem::take(&mut scene.seen.latencies);
    scene.unload(pair[0]);
    assert!(!scene.unload(pair[1]), "{name}: gone with what it was linked against");
    let [p99_before, p99_with, _] =
        assert_neighbours_unharmed(name, &mut scene, free, &before, &with);
    println!("{name:<8} p99 {p99_before} before, {p99_with} with");
    (std::mem::take(&mut scene.seen.notices), pair, scene)
}

fn unloaded(extension: ExtensionId, offence: Offence, strikes: u32) -> Notice {
    Notice::Unloaded { extension: extension.0, offence, strikes }
}

#[test]
fn an_exporter_that_traps_is_struck_out_and_takes_its_importer_with_it() {
    let (notices, [service, caller], scene) = live("trap");
    let expected =
        [unloaded(caller, Offence::Orphaned, 0), unloaded(service, Offence::Trapped, 100)];
    assert_eq!(notices, expected);
    assert_eq!(scene.counters().strikes, 100, "all of them the exporter's");
}

#[test]
fn an_exporter_that_never_comes_back_costs_its_importer_the_strikes() {
    for name in ["loop", "recurse", "flood"] {
        let (notices, [_, caller], scene) = live(name);
        // What stops endless recursion first, fuel or the end of the stack, is the weights' business.
        let trapped = notices
            .iter()
            .any(|notice| matches!(notice, Notice::Unloaded { offence: Offence::Trapped, .. }));
        if !(name == "recurse" && trapped) {
            assert_eq!(notices, [unloaded(caller, Offence::OutOfFuel, 100)], "{name}");
        }
        assert_eq!(scene.counters().strikes, 100, "{name}");
    }
}

#[test]
fn an_importer_that_calls_all_it_may_is_only_slow() {
    for name in ["count", "often"] {
        let (notices, [_, caller], scene) = live(name);
        // Nobody was struck out: this is the end of its exporter, by hand.
        assert_eq!(notices, [unloaded(caller, Offence::Orphaned, 0)], "{name}");
        assert_eq!(scene.counters().strikes, 0, "{name}");
    }
}

#[test]
fn an_exporter_unloaded_during_a_storm_leaves_nothing_behind() {
    let mut scene = Scene::new();
    scene.run(BEFORE);
    scene.settle();
    let free = scene.free_frames();
    for name in ["often", "trap", "loop", "flood"] {
        let pair = Pair::new(name);
        for _ in 0..25 {
            let [service, _] = pair.load(&mut scene);
            scene.run(2);
            assert!(scene.unload(service), "{name}");
        }
    }
    scene.run(AFTER);
    scene.settle();
    scene.assert_nothing_lost("storm");
    assert_eq!(scene.free_frames(), free);
    assert_eq!(scene.seen.notices.len(), 100, "one importer each time");
}

#[test]
fn the_pair_of_the_sdk_finds_the_flow_with_many_packets() {
    use std::time::{Duration, Instant};

    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../wasm-build");
    let module = |package: &str| {
        let path =
            spine_wasm_build::build(package, &folder).unwrap_or_else(|error| panic!("{error}"));
        std::fs::read(path).expect("the module")
    };
    let linker = suite::linker();
    let flows = linker.link(&module("spine-flows")).unwrap_or_else(|error| panic!("{error}"));
    let heavy = module("spine-heavy");
    let alone = linker.link(&heavy).expect_err("nobody to call").to_string();
    assert!(alone.contains("`flow` would be another extension's"), "{alone}");
    let exports = Exports::none().with(&flows.parts().expect("an image"));
    let heavy = linker.link_against(&heavy, &exports).unwrap_or_else(|error| panic!("{error}"));

    let (machine, mut wires) = crate::scene::machine(1);
    let adapter = &machine.adapters()[0];
    for image in [flows.as_bytes(), heavy.as_bytes()] {
        adapter.load(image, Vec::new(), crate::scene::budget()).expect("it loads");
    }
    // Whose first byte, a part of the MAC address, is the number of the handler of packets.
    let udp = |port: u8| {
        let mut packet = vec![0; 60];
        packet[0] = 32;
        packet[12..15].copy_from_slice(&[8, 0, 0x45]);
        (packet[23], packet[37]) = (17, port);
        packet
    };
    let end = Instant::now() + Duration::from_secs(10);
    for number in 0..600_u16 {
        // One packet in three is of the one flow.
        let port = if number % 3 == 0 { 1 } else { u8::try_from(2 + number % 50).expect("small") };
        while !wires[0].inject(&udp(port)) {
            assert!(Instant::now() < end, "the adapter takes no packets");
            std::thread::yield_now();
        }
    }
    let mut news = Vec::new();
    while news.len() < 2 {
        let told = adapter.receive(Duration::from_secs(5)).expect("news");
        assert_eq!(told.header().handler, HandlerNumber(2));
        news.push(u64::from_le_bytes(*told.arguments()[8..].first_chunk().expect("a count")));
    }
    assert_eq!(news, [64, 128], "of 200 packets");
}
