//! Extensions that call each other: what goes across, who pays, and what becomes of whom.

use std::time::Duration;

use crate::common::{COMMAND, FORWARD, MESSAGE, PACKET, Rig, linker, module, packet, wait_until};
use spine_abi::declaration::{InterfaceDeclaration, Signature, build, length};
use spine_abi::image::Image;
use spine_abi::interface::{Domain, EXTENSION_CALL, Value};
use spine_abi::limits::{FUEL_PER_MESSAGE, NESTING};
use spine_abi::notice::Offence;
use spine_abi::{Endpoint, HandlerNumber, Notice, Reason};
use spine_io::{Budget, ExtensionId, LoadError};
use spine_os::domain::Exports;

const ADD: InterfaceDeclaration<'_> = InterfaceDeclaration {
    name: "add",
    signature: Signature::new(&[Value::I32, Value::I64], Some(Value::I64)),
};
const MISDEED: InterfaceDeclaration<'_> =
    InterfaceDeclaration { name: "misdeed", signature: Signature::new(&[Value::I32], None) };
const SUM: [u8; length(2)] = build("sum", &[ADD, MISDEED]);
/// The same domain with one interface less.
const SMALLER: [u8; length(1)] = build("sum", &[ADD]);

/// Adds up what it is given, after as many rounds of nothing as it is told; and does whatever it should not.
const SERVICE: &str = r#"
    (func (export "sum.add") (param $rounds i32) (param $what i64) (result i64)
        (block $done (loop $again
            (br_if $done (i32.eqz (local.get $rounds)))
            (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))
            (br $again)))
        (i64.store (i32.const 1024) (i64.add (i64.load (i32.const 1024)) (local.get $what)))
        (i64.load (i32.const 1024)))
    (func $deeper (call $deeper))
    (func (export "sum.misdeed") (param $which i32)
        (global.set $__stack_pointer (i32.sub (global.get $__stack_pointer) (i32.const 64)))
        (i64.store (global.get $__stack_pointer) (i64.const 1))
        (if (i32.eq (local.get $which) (i32.const 1)) (then (unreachable)))
        (if (i32.eq (local.get $which) (i32.const 2)) (then (loop $forever (br $forever))))
        (if (i32.eq (local.get $which) (i32.const 3)) (then (call $deeper)))
        (if (i32.eq (local.get $which) (i32.const 4)) (then (i32.store (i32.const -8) (i32.const 0))))
        (global.set $__stack_pointer (i32.add (global.get $__stack_pointer) (i32.const 64))))"#;

/// The handlers of the extension that calls.
const CALLERS: [HandlerNumber; 2] = [PACKET, MESSAGE];

fn service_with(exports: &[u8], items: &str, handlers: [u16; 2]) -> Vec<u8> {
    link(&module(handlers.map(HandlerNumber), &[], exports, "", items, ""), &[])
}

fn service() -> Vec<u8> {
    service_with(&SUM, SERVICE, [11, 12])
}

/// Links a module against what these images export.
fn link(wasm: &[u8], against: &[&[u8]]) -> Vec<u8> {
    let linked = linker().link_against(wasm, &shown(against));
    linked.unwrap_or_else(|error| panic!("{error}")).into_bytes()
}

/// What these images export, all granted.
fn shown(images: &[&[u8]]) -> Exports {
    images
        .iter()
        .fold(Exports::none(), |all, image| all.with(&Image::parse(image).expect("an image")))
}

/// Adds what the byte after its packet's command says, with as many rounds as the one after that, writes the
/// sum into the packet's first bytes and forwards it; a command is passed on as a misdeed.
fn caller(service: &[u8]) -> Vec<u8> {
    let imports = r#"
        (import "sum" "add" (func $add (param i32 i64) (result i64)))
        (import "sum" "misdeed" (func $misdeed (param i32)))"#;
    let body = format!(
        "(if {COMMAND} (then (call $misdeed {COMMAND})))
         (i64.store offset=16 (local.get $slot) (call $add
            (i32.load8_u offset=32 (local.get $slot)) (i64.load8_u offset=31 (local.get $slot))))
         (local.set $verdict {FORWARD})"
    );
    link(&module(CALLERS, &[Domain::Peer], &[], imports, "", &body), &[service])
}

fn add(command: u8, what: u8, rounds: u8) -> Vec<u8> {
    let mut packet = packet(60, command);
    (packet[15], packet[16]) = (what, rounds);
    packet
}

fn patient() -> Budget {
    Budget { strikes: u32::MAX, ..Budget::default() }
}

fn strict() -> Budget {
    Budget { strikes: 10, ..Budget::default() }
}

fn sum(packet: &[u8]) -> u64 {
    u64::from_le_bytes(*packet.first_chunk().expect("a packet"))
}

/// The sentence about an extension that should not load.
fn refused(rig: &Rig, image: &[u8]) -> String {
    let loaded = rig.adapter(0).load(image, Vec::new(), Budget::default());
    loaded.expect_err("it should not load").to_string()
}

/// Puts an image in an extension's place.
fn replace(rig: &Rig, place: ExtensionId, image: &[u8]) -> Result<(), LoadError> {
    let adapter = rig.adapter(0);
    let loaded = adapter.prepare(image, Vec::new(), Budget::default()).expect("it is prepared");
    adapter.replace(place, loaded)
}

fn notice(rig: &Rig) -> Notice {
    let told = rig.adapter(0).receive(Duration::from_secs(5)).expect("a message");
    Notice::from_message(&told).expect("a notice")
}

#[test]
fn numbers_go_across_and_the_state_stays_with_the_exporter() {
    for processors in [1, 2] {
        let mut rig = Rig::new(processors);
        let service = service();
        rig.load(&service);
        let one = rig.load(&caller(&service));
        let mut total = 0;
        for what in 0..200_u8 {
            rig.send(&add(0, what, what));
            total += u64::from(what);
        }
        let sums: Vec<u64> = rig.take(1, 200).iter().map(|packet| sum(packet)).collect();
        assert_eq!(sums.last(), Some(&total));
        assert!(sums.is_sorted());
        // Another one finds what the first has left.
        assert!(rig.adapter(0).unload(one).expect("it answers"));
        rig.load(&caller(&service));
        rig.send(&add(0, 1, 0));
        assert_eq!(sum(&rig.take(1, 1)[0]), total + 1);
        assert_eq!(rig.statistics(0).counters.strikes, 0);
    }
}

#[test]
fn whoever_calls_pays_for_the_call_and_for_what_the_callee_does() {
    let mut rig = Rig::new(1);
    let service = service();
    rig.load(&service);
    rig.load(&caller(&service));
    let mut fuel = |rounds: u8| {
        let before = rig.statistics(0).counters;
        for _ in 0..10 {
            rig.send(&add(0, 0, rounds));
        }
        rig.take(1, 10);
        wait_until("the entries", || rig.statistics(0).counters.handled == before.handled + 10);
        rig.statistics(0).counters.fuel - before.fuel
    };
    let (idle, busy) = (fuel(0), fuel(200));
    assert!(idle >= 10 * EXTENSION_CALL, "{idle}");
    // Four plain instructions at least for each round.
    assert!(busy >= idle + 10 * 200 * 4, "{busy} and {idle}");
}

#[test]
fn a_callee_that_traps_costs_its_caller_the_message_and_itself_a_strike() {
    for misdeed in [1, 3, 4] {
        let mut rig = Rig::new(1);
        let service = service();
        // Endless recursion is to end at the stack, not for want of fuel.
        let budget = Budget { message: 10_000_000, entry: 20_000_000, ..patient() };
        rig.load_with(&service, budget);
        // One strike of its own would be the caller's last.
        rig.load_with(&caller(&service), Budget { strikes: 1, ..budget });
        for i in 0..200 {
            rig.send(&add(if i % 4 == 0 { misdeed } else { 0 }, 1, 0));
        }
        let sums: Vec<u64> = rig.take(1, 150).iter().map(|packet| sum(packet)).collect();
        assert!(sums.into_iter().eq(1..=150), "misdeed {misdeed}");
        rig.wait_for_drops(Reason::Stopped, 50);
        let counters = rig.statistics(0).counters;
        assert_eq!((counters.strikes, counters.unloaded), (50, 0), "misdeed {misdeed}");
    }
}

#[test]
fn a_callee_that_never_comes_back_is_its_callers_fault() {
    let mut rig = Rig::new(1);
    let service = service();
    let exporter = rig.load_with(&service, Budget { strikes: 1, ..Budget::default() });
    let importer = rig.load_with(&caller(&service), strict());
    for _ in 0..10 {
        rig.send(&add(2, 0, 0));
    }
    let offence = Offence::OutOfFuel;
    let expected = Notice::Unloaded { extension: importer.0, offence, strikes: 10 };
    assert_eq!(notice(&rig), expected);
    assert!(rig.adapter(0).unload(exporter).expect("it answers"), "it is still there");
}

#[test]
fn after_thousands_of_stops_the_callee_is_as_it_was() {
    let mut rig = Rig::new(1);
    let service = service();
    rig.load_with(&service, patient());
    rig.load_with(&caller(&service), patient());
    // Each leaves 64 bytes on the callee's shadow stack, which has 8 KiB.
    const STOPS: u64 = 2000;
    for i in 0..STOPS {
        rig.send(&add(if i % 2 == 0 { 1 } else { 2 }, 0, 0));
    }
    rig.wait_for_drops(Reason::Stopped, STOPS);
    rig.send(&add(0, 7, 0));
    assert_eq!(sum(&rig.take(1, 1)[0]), 7);
    // One that traps at the end of its stack would be the callee's strike; those of fuel are not.
    assert_eq!(rig.statistics(0).counters.strikes, STOPS);
}

#[test]
fn an_exporter_that_is_struck_out_takes_its_importers_with_it() {
    let mut rig = Rig::new(1);
    let service = service();
    let exporter = rig.load_with(&service, strict());
    let importer = rig.load_with(&caller(&service), strict());
    for _ in 0..12 {
        rig.send(&add(1, 0, 0));
    }
    let unloaded =
        |it: ExtensionId, offence, strikes| Notice::Unloaded { extension: it.0, offence, strikes };
    let expected =
        [unloaded(importer, Offence::Orphaned, 0), unloaded(exporter, Offence::Trapped, 10)];
    assert_eq!([notice(&rig), notice(&rig)], expected);
    // What waited is accounted for (those that no handler was stopped at are the kernel's), and the adapter
    // goes on.
    wait_until("all packets", || {
        let counters = rig.statistics(0).counters;
        counters.dropped.total() + counters.to_kernel.total() == 12
    });
    assert_eq!(rig.statistics(0).counters.unloaded, 2);
    rig.load(&service);
    rig.load(&caller(&service));
    rig.send(&add(0, 3, 0));
    assert_eq!(sum(&rig.take(1, 1)[0]), 3);
}

#[test]
fn an_exporter_in_use_is_unloaded_only_with_its_importers() {
    let rig = Rig::new(1);
    let service = service();
    let exporter = rig.load(&service);
    let importer = rig.load(&caller(&service));
    let refusal = rig.adapter(0).unload(exporter).expect_err("it is needed").to_string();
    assert!(refusal.contains("is linked against a domain of extension test"), "{refusal}");
    assert!(rig.adapter(0).unload_with_importers(exporter).expect("it answers"));
    let gone = Notice::Unloaded { extension: importer.0, offence: Offence::Orphaned, strikes: 0 };
    assert_eq!(notice(&rig), gone);
    assert!(!rig.adapter(0).unload(importer).expect("it answers"), "gone with it");
    let (exporter, importer) = (rig.load(&service), rig.load(&caller(&service)));
    assert!(rig.adapter(0).unload(importer).expect("it answers"));
    assert!(rig.adapter(0).unload(exporter).expect("nobody needs it"));
}

#[test]
fn the_adapter_believes_no_image_about_what_is_there() {
    let rig = Rig::new(1);
    let service = service();
    let caller = caller(&service);
    let missing = refused(&rig, &caller);
    assert!(missing.contains("linked against the domain sum, and no extension"), "{missing}");
    // Of the same name, and declared otherwise.
    let smaller = rig.load(&service_with(&SMALLER, SERVICE, [13, 14]));
    assert!(refused(&rig, &caller).contains("linked against the domain sum"));
    let taken = refused(&rig, &service);
    assert!(taken.contains("exports the domain sum, and on adapter loop0 test does"), "{taken}");
    assert!(rig.adapter(0).unload(smaller).expect("it answers"));
    rig.load(&service);
    rig.load(&caller);
    // What is on one adapter is not on the next.
    let other = rig.adapter(1).load(&caller, Vec::new(), Budget::default());
    assert!(matches!(other, Err(LoadError::Domain { .. })));
}

#[test]
fn an_exporter_is_replaced_by_one_that_exports_the_same() {
    let mut rig = Rig::new(1);
    let service = service();
    let exporter = rig.load(&service);
    // Nobody needs it yet.
    let smaller = service_with(&SMALLER, SERVICE, [11, 12]);
    replace(&rig, exporter, &smaller).expect("replaced");
    replace(&rig, exporter, &service).expect("replaced");
    let importer = rig.load(&caller(&service));
    rig.send(&add(0, 5, 0));
    assert_eq!(sum(&rig.take(1, 1)[0]), 5);
    let refusal = replace(&rig, exporter, &smaller);
    assert!(matches!(refusal, Err(LoadError::Needed { .. })), "{refusal:?}");
    let (once, twice) = ("(local.get $what)", "(i64.mul (local.get $what) (i64.const 2))");
    let doubling = SERVICE.replacen(once, twice, 1);
    replace(&rig, exporter, &service_with(&SUM, &doubling, [11, 12])).expect("replaced");
    rig.send(&add(0, 5, 0));
    assert_eq!(sum(&rig.take(1, 1)[0]), 10, "by the new one, which begins anew");
    replace(&rig, importer, &caller(&service)).expect("an importer, too");
    rig.send(&add(0, 5, 0));
    assert_eq!(sum(&rig.take(1, 1)[0]), 20);
}

#[test]
fn init_calls_nobody() {
    let rig = Rig::new(1);
    let service = service();
    rig.load(&service);
    let imports = r#"(import "sum" "misdeed" (func $misdeed (param i32)))"#;
    let items = r#"(func (export "init") (call $misdeed (i32.const 0)))"#;
    let image = link(&module(CALLERS, &[], &[], imports, items, ""), &[&service]);
    let refusal = refused(&rig, &image);
    assert!(refusal.contains("are there for handlers, and not yet for init"), "{refusal}");
}

#[test]
fn a_message_sent_while_called_leaves_in_the_callees_name() {
    let mut rig = Rig::new(1);
    let tell = InterfaceDeclaration { name: "tell", signature: Signature::new(&[], None) };
    let exports: [u8; length(1)] = build("post", &[tell]);
    let imports = r#"(import "spine:host" "send" (func $send (param i32) (result i32)))"#;
    let items = r#"(func (export "post.tell") (drop (call $send (i32.const 512))))
        (data (i32.const 512) "\07\00")"#;
    let hosts = [HandlerNumber(11), HandlerNumber(12)];
    let post = link(&module(hosts, &[Domain::Host], &exports, imports, items, ""), &[]);
    let exporter = rig.load(&post);
    let imports = r#"(import "post" "tell" (func $tell))"#;
    let body = format!("(call $tell) (local.set $verdict {FORWARD})");
    let wasm = module(CALLERS, &[Domain::Peer], &[], imports, "", &body);
    rig.load(&link(&wasm, &[&post]));
    rig.send(&packet(60, 0));
    let told = rig.adapter(0).receive(Duration::from_secs(5)).expect("a message");
    assert_eq!(told.header().source, Endpoint::Extension(exporter.0));
    assert_eq!(told.header().handler, HandlerNumber(7));
}

/// An extension of a chain: its one interface goes 1000 calls deep, then calls the next one's.
fn chained(number: u16, next: Option<&[u8]>) -> Vec<u8> {
    let names = ["a", "b", "c", "d", "e"];
    let at = usize::from(number);
    let signature = Signature::new(&[Value::I64], Some(Value::I64));
    let exports: [u8; length(1)] =
        build(names[at], &[InterfaceDeclaration { name: "down", signature }]);
    let import =
        |name| format!(r#"(import "{name}" "down" (func $below (param i64) (result i64)))"#);
    let imports = next.map_or_else(String::new, |_| import(names[at + 1]));
    let call = if next.is_some() { "(call $below (i64.const 1000))" } else { "(i64.const 0)" };
    let items = format!(
        r#"(func $down (export "{}.down") (param $n i64) (result i64)
            (if (result i64) (i64.eqz (local.get $n)) (then (i64.add (i64.const 1) {call}))
            (else (call $down (i64.sub (local.get $n) (i64.const 1))))))"#,
        names[at]
    );
    let handlers = [HandlerNumber(20 + 2 * number), HandlerNumber(21 + 2 * number)];
    link(&module(handlers, &[], &exports, &imports, &items, ""), next.as_slice())
}

#[test]
fn calls_go_through_as_many_extensions_as_there_are_stacks() {
    let mut rig = Rig::new(1);
    let large = Budget { message: 1_000_000, entry: 2_000_000, ..Budget::default() };
    let last = chained(4, None);
    let third = chained(3, Some(&last));
    let second = chained(2, Some(&third));
    for image in [&last, &third, &second] {
        rig.load_with(image, large);
    }
    // The caller is the fourth, and reaches the last one on two ways.
    let imports = r#"
        (import "c" "down" (func $long (param i64) (result i64)))
        (import "e" "down" (func $short (param i64) (result i64)))"#;
    let body = format!(
        "(i64.store offset=16 (local.get $slot) (i64.add
            (call $long (i64.const 1000)) (i64.mul (i64.const 100) (call $short (i64.const 1000)))))
         (local.set $verdict {FORWARD})"
    );
    let wasm = module(CALLERS, &[Domain::Peer], &[], imports, "", &body);
    rig.load_with(&link(&wasm, &[&second, &third, &last]), large);
    for _ in 0..20 {
        rig.send(&packet(60, 0));
    }
    for packet in rig.take(1, 20) {
        assert_eq!(sum(&packet), 3 + 100);
    }
    // One more would be too deep.
    assert_eq!(NESTING, 4);
    let first = chained(1, Some(&second));
    let imports = r#"(import "b" "down" (func (param i64) (result i64)))"#;
    let wasm = module([HandlerNumber(40), HandlerNumber(41)], &[], &[], imports, "", "");
    let error = linker().link_against(&wasm, &shown(&[&first, &second, &third, &last]));
    let error = error.expect_err("too deep").to_string();
    assert!(error.contains("a depth of more than 4"), "{error}");
    // And the adapter says so of an image whose linker was shown less.
    rig.load_with(&first, large);
    let blind = link(&wasm, &[&first]);
    let loaded = rig.adapter(0).load(&blind, Vec::new(), large);
    assert!(matches!(loaded, Err(LoadError::Circle { .. })), "{loaded:?}");
}

#[test]
fn a_circle_cannot_be_made_by_replacing() {
    let rig = Rig::new(1);
    let call = InterfaceDeclaration { name: "call", signature: Signature::new(&[], None) };
    let extension = |name: &str, number, import: Option<(&str, &[u8])>| {
        let exports: [u8; length(1)] = build(name, &[call]);
        let imports = import.map(|(of, _)| format!(r#"(import "{of}" "call" (func))"#));
        let items = format!(r#"(func (export "{name}.call"))"#);
        let handlers = [HandlerNumber(number), HandlerNumber(number + 1)];
        let wasm = module(handlers, &[], &exports, &imports.unwrap_or_default(), &items, "");
        let against: Vec<&[u8]> = import.iter().map(|(_, image)| *image).collect();
        link(&wasm, &against)
    };
    let left = extension("left", 20, None);
    let right = extension("right", 22, Some(("left", &left)));
    let place = rig.load(&left);
    rig.load(&right);
    // This linker is shown a `right` without links, so that only the adapter can see the circle.
    let blind = extension("right", 24, None);
    let circular = extension("left", 20, Some(("right", &blind)));
    let refusal = replace(&rig, place, &circular).expect_err("a circle").to_string();
    assert!(refusal.contains("call back to it"), "{refusal}");
}

#[test]
fn nothing_renews_a_message_s_fuel_however_often_it_calls() {
    let mut rig = Rig::new(1);
    let service = service();
    rig.load(&service);
    let imports = r#"(import "sum" "misdeed" (func $misdeed (param i32)))"#;
    let body = "(loop $forever (call $misdeed (i32.const 0)) (br $forever))";
    let image = link(&module(CALLERS, &[], &[], imports, "", body), &[&service]);
    rig.load_with(&image, patient());
    for _ in 0..20 {
        rig.send(&packet(60, 0));
    }
    rig.wait_for_drops(Reason::Stopped, 20);
    let counters = rig.statistics(0).counters;
    assert_eq!(counters.strikes, 20);
    assert!(counters.fuel <= 20 * (FUEL_PER_MESSAGE + 200), "{}", counters.fuel);
}
