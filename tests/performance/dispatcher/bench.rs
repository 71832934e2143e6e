//! Bench: a packet's way through the dispatcher and the router extension, beside native code.
//!
//! `cargo bench -p spine-tests --bench dispatcher`. Divan prints time per turn and messages per
//! second; `dispatch-load` prints nanoseconds per message and is what callgrind runs.

#[path = "rig.rs"]
mod rig;
#[path = "watchdog.rs"]
mod watchdog;

use divan::Bencher;
use divan::counter::ItemsCount;

const BURSTS: [usize; 4] = [1, 8, 32, 64];

fn main() {
    divan::main();
}

/// Receive, dispatch, handle, send, and the peer's arrivals and completions.
#[divan::bench(args = BURSTS)]
fn dispatcher_and_router(bencher: Bencher<'_, '_>, burst: usize) {
    let mut rig = rig::Rig::new(burst);
    bencher.counter(ItemsCount::new(burst)).bench_local(|| rig.turns(1));
}

/// The same function and copies, compiled for the host, without a dispatcher.
#[divan::bench(args = BURSTS)]
fn native_function(bencher: Bencher<'_, '_>, burst: usize) {
    let mut native = rig::Native::new();
    bencher.counter(ItemsCount::new(burst)).bench_local(|| native.route(burst));
}

#[divan::bench(args = BURSTS)]
fn module_with_watchdog(bencher: Bencher<'_, '_>, burst: usize) {
    let mut bare = watchdog::Bare::new(true);
    bencher.counter(ItemsCount::new(burst)).bench_local(|| bare.entry(burst));
}

#[divan::bench(args = BURSTS)]
fn module_without_watchdog(bencher: Bencher<'_, '_>, burst: usize) {
    let mut bare = watchdog::Bare::new(false);
    bencher.counter(ItemsCount::new(burst)).bench_local(|| bare.entry(burst));
}
