//! Each shape of code, run on little fuel: how much work was done is counted by the code itself.

use wasmtime::{Engine, Instance, Store, Trap, Val};

use super::*;
use crate::linker::export;
use crate::linker::module::Module;

/// Fuel that each run is given.
const FUEL: u64 = 5_000;
/// One more step counted: `global.get`, a constant, an addition and `global.set`, a unit of fuel each.
const STEP: &str = "(global.set $done (i64.add (global.get $done) (i64.const 1)))";
const STEP_COST: u64 = 4;

fn steps(count: usize) -> String {
    STEP.repeat(count)
}

/// A module whose `run` has this body, beside other functions; as it is compiled.
fn module(functions: &str, body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (memory (export "memory") 1)
            (global $done (export "done") (mut i64) (i64.const 0))
            (global $yes i32 (i32.const 1))
            (global $no i32 (i32.const 0))
            {functions}
            (func (export "run") {body}))"#
    );
    let wasm = wat::parse_str(text).expect("our own module");
    let module = Module::read(&wasm).expect("a module");
    export::encode(&wasm, &module).expect("no shadow stack")
}

/// Fuel's worth of steps that were done before it was stopped; `None` if it was not.
fn run(wasm: &[u8]) -> Option<u64> {
    let engine = Engine::new(&spine_engine::config()).expect("an engine");
    let module = wasmtime::Module::new(&engine, wasm).expect("valid with its looks");
    let mut store = Store::new(&engine, ());
    store.set_fuel(FUEL).expect("fuel is counted");
    let instance = Instance::new(&mut store, &module, &[]).expect("no imports");
    let run = instance.get_typed_func::<(), ()>(&mut store, "run").expect("run");
    let result = run.call(&mut store, ());
    let done = instance.get_global(&mut store, "done").expect("done");
    let Val::I64(done) = done.get(&mut store) else { panic!("a number") };
    let error = result.err()?;
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::OutOfFuel), "{error:#}");
    Some(u64::try_from(done).expect("counted up") * STEP_COST)
}

/// Fails unless it is stopped when its fuel is used up, and not much later.
fn assert_stopped(name: &str, functions: &str, body: &str) {
    let done = run(&module(functions, body)).unwrap_or_else(|| panic!("{name}: was not stopped"));
    println!("{name}: {done} of {FUEL}");
    assert!(done <= FUEL + BETWEEN, "{name}: {done} units of work on {FUEL}");
}

#[test]
fn code_without_a_loop_is_stopped_when_its_fuel_is_used_up() {
    assert_stopped("straight", "", &steps(20_000));
}

#[test]
fn a_look_in_a_branch_not_taken_is_none() {
    let hidden = format!("{}(if (global.get $no) (then {}))", steps(240), steps(20));
    assert_stopped("then", "", &hidden.repeat(60));
    let hidden = format!("{}(if (global.get $yes) (then) (else {}))", steps(240), steps(20));
    assert_stopped("else", "", &hidden.repeat(60));
    let left = format!("{}(block (br_if 0 (global.get $yes)) {})", steps(240), steps(20));
    assert_stopped("branch", "", &left.repeat(60));
    let table =
        format!("{}(block (block (br_table 1 0 (global.get $no))) {})", steps(240), steps(20));
    assert_stopped("table", "", &table.repeat(60));
    let dead = format!("{}(block (br 0) {})", steps(240), steps(300));
    assert_stopped("dead code", "", &dead.repeat(60));
    let inner = format!("(loop (br_if 1 (global.get $yes)) {})", steps(20));
    let looped = format!("(block {}{inner})", steps(240));
    assert_stopped("a loop left at once", "", &looped.repeat(60));
}

#[test]
fn what_was_called_leaves_little_behind() {
    let short = format!("(func $short {})", steps(120));
    assert_stopped("short functions", &short, &"(call $short)".repeat(1000));
    // The work is done on the way back, when no function begins any more.
    let back = format!(
        "(func $down (param i32)
            (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1)))))
            {})",
        steps(120)
    );
    assert_stopped("on the way back", &back, "(call $down (i32.const 100))");
    let returns = format!(
        "(func $down (param i32)
            (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1)))))
            {}(br_if 0 (global.get $yes)) {0}(return))",
        steps(110)
    );
    assert_stopped("by branches", &returns, "(call $down (i32.const 100))");
}

#[test]
fn what_needs_no_look_is_left_as_it_is() {
    let steps = steps(60);
    let wasm = wat::parse_str(format!(
        r#"(module (memory (export "memory") 1) (global $done (mut i64) (i64.const 0))
            (func $small {steps})
            (func (export "run") (loop {steps} (br_if 0 (i64.eqz (global.get $done))))))"#
    ))
    .expect("our own module");
    let module = Module::read(&wasm).expect("a module");
    assert!(module.bodies.iter().all(|body| body.looks.is_empty()));
}
