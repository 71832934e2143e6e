//! A hostile .wasm never makes the linker panic, and is answered with a sentence.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use proptest::prelude::*;
use spine_abi::interface::Domains;
use spine_client::signature::SecretKey;
use spine_os::domain::Policy;
use spine_os::linker::{LinkError, Linker};

mod common;

/// Modules that are accepted and use much of what a module can have.
const SEEDS: [&str; 3] = [
    r#"(module
      (import "spine:core" "next" (func $next (param i64) (result i64)))
      (import "spine:core" "add_handler" (func $add (param i32 i32) (result i32)))
      (type $handler (func (param i32) (result i64)))
      (table 4 funcref)
      (elem (i32.const 1) $first $second)
      (global $__stack_pointer (mut i32) (i32.const 65536))
      (memory (export "memory") 2)
      (data (i32.const 64) "some data")
      (func $first (type $handler) (i64.load (local.get 0)))
      (func $second (type $handler) (call $next (i64.const 0)))
      (func (export "init") (drop (call $add (i32.const 1) (i32.const 0))))
      (func (export "run") (local i64)
        (loop $again
          (local.set 0 (call_indirect (type $handler) (i32.const 8) (i32.const 1)))
          (br_if $again (i64.ne (local.get 0) (i64.const 0))))))"#,
    r#"(module
      (memory (export "memory") 1)
      (data $passive "hello")
      (func (export "run") (local f64 v128)
        (memory.init $passive (i32.const 0) (i32.const 0) (i32.const 5))
        (block $out (br_table $out $out $out (i32.const 3)))
        (f64.store (i32.const 8) (f64.sqrt (f64.div (local.get 0) (f64.const 3))))
        (v128.store (i32.const 16) (i32x4.add (local.get 1) (v128.const i32x4 1 2 3 4)))
        (memory.copy (i32.const 64) (i32.const 0) (i32.const 32))))"#,
    r#"(module
      (import "spine:core" "region" (func $region (param i32) (result i64)))
      (global $at (mut i64) (i64.const 0))
      (memory (export "memory") 1)
      (func (export "init") (global.set $at (call $region (i32.const 0))))
      (func $gcd (param i64 i64) (result i64)
        (if (result i64) (i64.eqz (local.get 1))
          (then (local.get 0))
          (else (call $gcd (local.get 1) (i64.rem_u (local.get 0) (local.get 1))))))
      (func (export "run")
        (global.set $at (call $gcd (global.get $at) (i64.const 12)))))"#,
];

fn linker() -> Linker {
    Linker::new(SecretKey::from_seed(&[3; 32]), Policy::everything()).unwrap()
}

/// Any answer but one from inside the compiler will do: what reaches it was validated.
fn answered(answer: Result<spine_os::linker::SignedImage, LinkError>) {
    match answer {
        Ok(image) => assert!(image.parts().is_ok()),
        Err(LinkError::Compiler(reason)) => panic!("the compiler: {reason}"),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

#[test]
fn the_seeds_are_accepted() {
    for seed in SEEDS {
        linker().link(&common::module(seed, Domains::CORE)).unwrap();
    }
}

#[test]
fn every_module_cut_short_is_answered() {
    let linker = linker();
    for seed in SEEDS {
        let wasm = common::module(seed, Domains::CORE);
        for cut in 0..wasm.len() {
            answered(linker.link(&wasm[..cut]));
        }
    }
}

#[test]
fn a_module_over_the_limit_is_refused_unread() {
    let large = vec![0; spine_abi::limits::MODULE_BYTES + 1];
    let error = linker().link(&large).unwrap_err();
    assert!(matches!(error, LinkError::OverLimit { what: "bytes of the module", .. }), "{error}");
}

#[test]
fn many_functions_in_a_circle_are_followed_once() {
    let mut text = String::from("(module (memory (export \"memory\") 1) (func (export \"run\")");
    text.push_str(" (call_indirect (i32.const 0)))");
    for index in 1..5_000 {
        text += &format!("(func (call_indirect (i32.const 0)) (call {}))", index - 1);
    }
    text += "(table funcref (elem";
    for index in 1..4_000 {
        text += &format!(" {index}");
    }
    text += ")))";
    let error = linker().link(&common::module(&text, Domains::CORE));
    answered(error);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn mutated_modules_are_answered(
        seed in 0..SEEDS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut wasm = common::module(SEEDS[seed], Domains::CORE);
        for (place, value) in changes {
            let place = place.index(wasm.len());
            wasm[place] = value;
        }
        answered(linker().link(&wasm));
    }

    #[test]
    fn bytes_behind_a_module_header_are_answered(
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        wasm.extend(rest);
        common::add_manifest(&mut wasm, Domains::CORE);
        answered(linker().link(&wasm));
    }
}

/// The same, where each local really changes: every loop carries every local round.
fn carrying(locals: usize, loops: usize) -> Vec<u8> {
    let change =
        |at| format!("(local.set {at} (i64.add (local.get {at}) (i64.load (i32.const {at}))))");
    let changes: String = (0..locals).map(change).collect();
    let again = "(br_if 0 (i32.load (i32.const 0))))".repeat(loops);
    in_run(locals, &format!("{} {changes} {again}", "(loop ".repeat(loops)))
}

/// A module that runs this, with so many locals.
fn in_run(locals: usize, body: &str) -> Vec<u8> {
    let declared = "i64 ".repeat(locals);
    let text = format!(
        r#"(module (memory (export "memory") 1) (func (export "run") (local {declared}) {body}))"#
    );
    common::module(&text, Domains::CORE)
}

/// A loop of so many branches back, each a way by which all locals come.
fn branching(locals: usize, branches: usize) -> Vec<u8> {
    let each = |at: usize| {
        format!("(local.set {} (i64.const 1)) (br_if 0 (i32.load (i32.const 0)))", at % locals)
    };
    let body: String = (0..branches).map(each).collect();
    in_run(locals, &format!("(loop {body})"))
}

/// The same by branch tables with so many targets each.
fn switching(locals: usize, tables: usize, targets: usize) -> Vec<u8> {
    let set: String = (0..locals).map(|at| format!("(local.set {at} (i64.const 1))")).collect();
    let table = format!("(block (br_table {} 0 (i32.load (i32.const 0))))", "1 ".repeat(targets));
    in_run(locals, &format!("(loop {set} {})", table.repeat(tables)))
}

/// Calls that return so many values each.
fn calling(values: usize, calls: usize) -> Vec<u8> {
    let (results, zeros) = ("i64 ".repeat(values), "(i64.const 0)".repeat(values));
    let call = "(if (i32.load (i32.const 0)) (then (call $many) unreachable))".repeat(calls);
    let text = format!(
        r#"(module (memory (export "memory") 1) (func $many (result {results}) {zeros})
            (func (export "run") {call}))"#
    );
    common::module(&text, Domains::CORE)
}

/// Loops inside each other in a function that has nothing but parameters.
fn parameters(parameters: usize, loops: usize) -> Vec<u8> {
    let declared = "i64 ".repeat(parameters);
    let again = "(br_if 0 (i32.load (i32.const 0))))".repeat(loops);
    let text = format!(
        r#"(module (memory (export "memory") 1) (func (export "run"))
            (func (param {declared}) {} {again}))"#,
        "(loop ".repeat(loops)
    );
    common::module(&text, Domains::CORE)
}

#[test]
fn a_few_kilobytes_that_would_keep_the_compiler_busy_are_refused_before_it_begins() {
    for (wasm, what) in [
        // More than a minute before what loops carry was counted.
        (carrying(500, 200), "carried round by the loops of a function"),
        (carrying(100, 400), "carried round by the loops of a function"),
        (carrying(1, 1024), "carried round by the loops of a function"),
        (branching(2000, 5000), "locals times branches"),
        (switching(1000, 20, 1000), "locals times branches"),
        (calling(1000, 9000), "locals times branches"),
        (parameters(1000, 600), "locals times branches"),
    ] {
        assert!(wasm.len() < 200 << 10, "{what}: {} bytes", wasm.len());
        let error = linker().link(&wasm).unwrap_err().to_string();
        assert!(error.contains(what), "{what}: {error}");
    }
}

#[test]
fn what_is_just_within_the_limits_is_linked() {
    for (what, wasm) in [
        ("carrying", carrying(80, 80)),
        ("branching", branching(100, 1000)),
        ("switching", switching(100, 10, 500)),
        ("calling", calling(100, 1000)),
        ("parameters", parameters(500, 100)),
    ] {
        let start = std::time::Instant::now();
        linker().link(&wasm).unwrap();
        println!("{what}: {} bytes in {:?}", wasm.len(), start.elapsed());
    }
}

/// A function with so many locals, and loops inside each other around a use of each: every loop needs a value
/// of every local.
fn nested(locals: usize, loops: usize) -> Vec<u8> {
    let uses: String = (0..locals).map(|at| format!("(local.set {at} (local.get {at}))")).collect();
    let declared = "i64 ".repeat(locals);
    let (open, close) = ("(loop ".repeat(loops), ")".repeat(loops));
    let again: String = (0..loops).map(|_| "(br_if 0 (global.get $no)))").collect();
    assert_eq!(again.matches(')').count(), close.len() * 3);
    let text = format!(
        r#"(module
            (global $no i32 (i32.const 0))
            (memory (export "memory") 1)
            (func (export "run") (local {declared}) {open} {uses} {again}))"#
    );
    common::module(&text, Domains::CORE)
}

#[test]
fn a_function_that_would_take_the_compiler_for_ever_is_refused() {
    use spine_abi::limits::{BLOCKS, FUNCTION_BYTES, LOCALS};
    let start = std::time::Instant::now();
    let linker = linker();
    let straight = "(drop (i32.const 1))".repeat(FUNCTION_BYTES / 3);
    let long = format!(r#"(module (memory (export "memory") 1) (func (export "run") {straight}))"#);
    for (wasm, what) in [
        (nested(LOCALS + 1, 1), "locals of a function"),
        (nested(20_000, 1_000), "of a function"),
        (nested(1, BLOCKS + 1), "blocks inside each other"),
        // 52 s before there was a limit.
        (nested(LOCALS, BLOCKS), "locals times branches"),
        (common::module(&long, Domains::CORE), "bytes of a function"),
    ] {
        let error = linker.link(&wasm).unwrap_err().to_string();
        assert!(error.contains(what), "{what}: {error}");
    }
    println!("refused in {:?}", start.elapsed());
    for (locals, loops) in [(LOCALS, 1), (1, 128), (100, 64)] {
        let start = std::time::Instant::now();
        linker.link(&nested(locals, loops)).unwrap();
        println!("{locals} locals in {loops} loops: {:?}", start.elapsed());
    }
}

#[test]
fn a_module_that_names_a_hundred_thousand_domains_is_refused_at_the_ninth() {
    let mut imports = wasm_encoder::ImportSection::new();
    for number in 0..100_000 {
        imports.import(&format!("d{number}"), "call", wasm_encoder::EntityType::Function(0));
    }
    let mut types = wasm_encoder::TypeSection::new();
    types.ty().function([], []);
    let wasm = wasm_encoder::Module::new().section(&types).section(&imports).clone().finish();
    let error = spine_os::linker::imported_domains(&wasm).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, LinkError::OverLimit { found: 9, limit: 8, .. }), "{text}");
}

#[test]
fn a_module_with_more_of_anything_than_an_adapter_should_keep_is_refused() {
    use spine_abi::limits::{ITEMS, SEGMENT_ELEMENTS};
    let memory = r#"(memory (export "memory") 1)"#;
    let each = |line: &dyn Fn(usize) -> String| (0..=ITEMS).map(line).collect::<String>();
    let segment = "$f ".repeat(SEGMENT_ELEMENTS / 2 + 1);
    let cases = [
        ("types", each(&|at| format!("(type (func (param {})))", "i32 i64 ".repeat(at % 9)))),
        ("imports", each(&|_| r#"(import "spine:core" "next" (func))"#.to_owned())),
        ("globals", each(&|_| "(global i32 (i32.const 0))".to_owned())),
        ("exports", format!("(func $f){}", each(&|at| format!(r#"(export "e{at}" (func $f))"#)))),
        ("segments of data", each(&|_| r#"(data "")"#.to_owned())),
        ("segments of elements", format!("(func $f){}", each(&|_| "(elem func)".to_owned()))),
        (
            "elements of segments",
            format!("(func $f){}", format!("(elem func {segment})").repeat(2)),
        ),
    ];
    for (what, items) in cases {
        // Imports come before everything else.
        let text = match what {
            "imports" => format!("(module {items} {memory})"),
            _ => format!("(module {memory} {items})"),
        };
        let error = linker().link(&common::module(&text, Domains::CORE)).unwrap_err().to_string();
        assert!(error.contains(&format!("{what}: ")), "{what}: {error}");
    }
}
