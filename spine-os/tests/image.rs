//! Images: what the linker makes runs under the adapter's engine, and nothing else does.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use spine_abi::image::Image;
use spine_abi::interface::{Domain, Domains};
use spine_client::signature::SecretKey;
use spine_os::domain::Policy;
use spine_os::linker::{ImageError, Linker, verify_image};
use wasmtime::{Engine, Instance, Store, Trap, Val};

mod common;

/// Counts messages in the first word of its memory; leaks a piece of its stack for each.
const COUNTER: &str = r#"
    (module
      (import "spine:core" "next" (func $next (param i64) (result i64)))
      (import "spine:core" "add_handler" (func $add_handler (param i32 i32) (result i32)))
      (global $__stack_pointer (mut i32) (i32.const 4096))
      (global $budget (mut i32) (i32.const 0))
      (memory (export "memory") 1)
      (func (export "init") (drop (call $add_handler (i32.const 1) (i32.const 0))))
      (func (export "run")
        (loop $again
          (if (i64.ne (call $next (i64.const 0)) (i64.const 0))
            (then
              (global.set $__stack_pointer
                (i32.sub (global.get $__stack_pointer) (i32.const 16)))
              (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
              (br $again)))))
      (func (export "spin") (loop $for_ever (br $for_ever)))
      (func (export "divide") (drop (i32.div_u (i32.const 1) (i32.load (i32.const 8)))))
      (func (export "far") (drop (i32.load offset=4000000000 (i32.const 300000000))))
      (func $deeper (export "deep") (call $deeper)))"#;

fn linker() -> Linker {
    Linker::new(SecretKey::generate().unwrap(), Policy::everything()).unwrap()
}

/// An adapter in miniature: gives `messages` messages and counts the handlers installed.
struct Host {
    messages: i64,
    handlers: u32,
}

fn load(messages: i64) -> (Store<Host>, Instance) {
    let linker = linker();
    let image = linker.link(&common::module(COUNTER, Domains::CORE)).unwrap();
    let engine = Engine::new(&spine_engine::config()).unwrap();
    let module = common::sys::deserialize(&engine, &image, &linker.public());
    let mut imports = wasmtime::Linker::new(&engine);
    imports
        .func_wrap("spine:core", "next", |mut caller: wasmtime::Caller<'_, Host>, _: i64| {
            let host = caller.data_mut();
            host.messages -= 1;
            i64::from(host.messages >= 0)
        })
        .unwrap();
    imports
        .func_wrap(
            "spine:core",
            "add_handler",
            |mut caller: wasmtime::Caller<'_, Host>, _: i32, _: i32| {
                caller.data_mut().handlers += 1;
                0
            },
        )
        .unwrap();
    let mut store = Store::new(&engine, Host { messages, handlers: 0 });
    store.set_fuel(100_000).unwrap();
    let instance = imports.instantiate(&mut store, &module).unwrap();
    (store, instance)
}

fn call(store: &mut Store<Host>, instance: &Instance, name: &str) -> Result<(), wasmtime::Error> {
    instance.get_typed_func::<(), ()>(&mut *store, name).unwrap().call(store, ())
}

fn word(store: &mut Store<Host>, instance: &Instance, at: usize) -> u32 {
    let memory = instance.get_memory(&mut *store, "memory").unwrap();
    u32::from_le_bytes(*memory.data(&store)[at..].first_chunk().unwrap())
}

#[test]
fn the_loop_runs_under_the_adapters_engine() {
    let (mut store, instance) = load(32);
    call(&mut store, &instance, "init").unwrap();
    call(&mut store, &instance, "run").unwrap();
    assert_eq!(store.data().handlers, 1);
    assert_eq!(word(&mut store, &instance, 0), 32);
    assert!(store.get_fuel().unwrap() < 100_000);
}

#[test]
fn the_stack_pointer_can_be_restored() {
    let (mut store, instance) = load(8);
    call(&mut store, &instance, "run").unwrap();
    let pointer = instance.get_global(&mut store, "__stack_pointer").unwrap();
    assert_eq!(pointer.get(&mut store).i32(), Some(4096 - 8 * 16));
    pointer.set(&mut store, Val::I32(4096)).unwrap();
    call(&mut store, &instance, "run").unwrap();
    assert_eq!(pointer.get(&mut store).i32(), Some(4096));
}

#[test]
fn what_goes_wrong_is_stopped_and_the_store_stays_usable() {
    let (mut store, instance) = load(1);
    for (export, trap) in [
        ("spin", Trap::OutOfFuel),
        ("divide", Trap::IntegerDivisionByZero),
        ("far", Trap::MemoryOutOfBounds),
        ("deep", Trap::StackOverflow),
    ] {
        store.set_fuel(1_000_000).unwrap();
        let error = call(&mut store, &instance, export).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&trap), "{export}");
    }
    store.set_fuel(1_000).unwrap();
    call(&mut store, &instance, "run").unwrap();
    assert_eq!(word(&mut store, &instance, 0), 1);
}

#[test]
fn memory_grows_in_its_place() {
    let (mut store, instance) = load(0);
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    let before = memory.data_ptr(&store);
    memory.grow(&mut store, 4 * 4096).unwrap();
    assert_eq!(memory.data_ptr(&store), before);
}

#[test]
fn an_image_says_what_it_was_made_from_and_may_use() {
    let wanted = Domains::default().with(Domain::Net).with(Domain::Peer);
    let wasm =
        common::module("(module (memory (export \"memory\") 3) (func (export \"run\")))", wanted);
    let image = linker().link(&wasm).unwrap();
    let parts = image.parts().unwrap();
    assert_eq!(parts.header.domains, wanted.with(Domain::Core));
    assert_eq!(parts.header.memory_pages, 3);
    assert_eq!(parts.manifest.as_bytes(), common::manifest(wanted));
    use sha2::{Digest, Sha256};
    assert_eq!(parts.header.source, <[u8; 32]>::from(Sha256::digest(&wasm)));
}

#[test]
fn names_and_debugging_sections_stay_behind() {
    let mut wasm = common::module(
        "(module (memory (export \"memory\") 1) (func $a_telling_name) (func (export \"run\")))",
        Domains::CORE,
    );
    let small = linker().link(&wasm).unwrap().into_bytes().len();
    use wasm_encoder::{ComponentSection as _, CustomSection, Encode as _};
    let debug = CustomSection { name: ".debug_info".into(), data: vec![7; 1 << 20].into() };
    wasm.push(debug.id());
    debug.encode(&mut wasm);
    let image = linker().link(&wasm).unwrap().into_bytes();
    assert_eq!(image.len(), small);
    assert!(!image.windows(14).any(|window| window == b"a_telling_name"));
}

#[test]
fn linking_twice_gives_the_same_image() {
    let linker = linker();
    let wasm = common::module(COUNTER, Domains::CORE);
    assert!(linker.link(&wasm).unwrap() == linker.link(&wasm).unwrap());
}

#[test]
fn every_flipped_bit_and_every_cut_is_refused() {
    let linker = linker();
    let key = linker.public();
    let good = linker.link(&common::module(COUNTER, Domains::CORE)).unwrap().into_bytes();
    assert_eq!(verify_image(&good, &key), Ok(()));
    // Every bit outside the code, and a sample of those in it.
    let code = Image::parse(&good).unwrap().code.len();
    let code_start = good.len() - 64 - code;
    let inside = (code_start..code_start + code).step_by(211);
    for byte in (0..code_start).chain(inside).chain(good.len() - 64..good.len()) {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[byte] ^= 1 << bit;
            assert!(verify_image(&bad, &key).is_err(), "bit {bit} of byte {byte}");
        }
    }
    for cut in (0..good.len()).step_by(97) {
        assert_eq!(verify_image(&good[..cut], &key), Err(ImageError::Malformed), "cut at {cut}");
    }
    let stranger = SecretKey::generate().unwrap().public();
    assert_eq!(verify_image(&good, &stranger), Err(ImageError::Signature));
}
