//! The yardstick: a bare AF_XDP forwarder, with no runtime and no extension.
//!
//! It passes IPv4 packets between two interfaces, one static next hop on each side, in one thread on one
//! core, with the same crate, modes, batch size and socket options that the adapter uses. What it reaches
//! is what AF_XDP gives on a machine; what the adapter loses against it is the price of the runtime.
//! It takes over both interfaces whole (ARP included), so it runs only where neighbours are static.

mod rewrite;
mod sys;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Pid;

use rewrite::Hop;
use sys::Pair;

/// Empty rounds before it sleeps. Sleeping at once leaves the core to the senders, whose packets come
/// together in bursts anyway.
const EMPTY_ROUNDS: u32 = 1;

#[derive(Debug, Parser)]
#[command(about = "Forwards IPv4 between two interfaces over AF_XDP, with nothing around it")]
struct Arguments {
    /// One interface
    #[arg(long)]
    left: String,
    /// The other
    #[arg(long)]
    right: String,
    /// Link-layer address of the next hop behind the left interface
    #[arg(long, value_parser = parse_address)]
    left_hop: [u8; 6],
    /// Link-layer address of the next hop behind the right interface
    #[arg(long, value_parser = parse_address)]
    right_hop: [u8; 6],
    /// The core to run on
    #[arg(long)]
    core: usize,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bare-forwarder: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<()> {
    let stop = stop_on_signal()?;
    let mut core = CpuSet::new();
    core.set(arguments.core)?;
    sched_setaffinity(Pid::from_raw(0), &core)?;

    // What comes in on the left leaves on the right.
    let hops = [
        Hop { destination: arguments.right_hop, source: own_address(&arguments.right)? },
        Hop { destination: arguments.left_hop, source: own_address(&arguments.left)? },
    ];
    let mut pair = Pair::open([&arguments.left, &arguments.right])?;
    eprintln!("ready");

    let (mut received, mut forwarded, mut calls, mut sleeps) = (0, 0, 0, 0);
    let mut empty = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut idle = true;
        for (from, hop) in hops.iter().enumerate() {
            let step = pair.step(from, |frame| hop.apply(frame))?;
            received += step.received;
            forwarded += step.sent;
            calls += step.calls;
            idle &= step.received == 0 && step.waiting == 0;
        }
        empty = if idle { empty + 1 } else { 0 };
        if empty >= EMPTY_ROUNDS {
            pair.sleep(100)?;
            calls += 1;
            sleeps += 1;
        }
    }
    println!(
        r#"{{"received":{received},"forwarded":{forwarded},"dropped":{},"syscalls":{calls},"sleeps":{sleeps}}}"#,
        received - forwarded
    );
    Ok(())
}

/// A flag that SIGINT and SIGTERM raise.
fn stop_on_signal() -> io::Result<Arc<AtomicBool>> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM].into_iter().collect();
    signals.thread_block()?;
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    std::thread::spawn(move || {
        // The wait fails only for a set that is not one; either way there is nothing left to wait for.
        let _ = signals.wait();
        raised.store(true, Ordering::Relaxed);
    });
    Ok(stop)
}

/// The link-layer address of an interface.
fn own_address(interface: &str) -> io::Result<[u8; 6]> {
    nix::ifaddrs::getifaddrs()?
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| entry.address.as_ref()?.as_link_addr()?.addr())
        .ok_or_else(|| {
            io::Error::other(format!(
                "{interface}: no such interface, or it has no link-layer address"
            ))
        })
}

fn parse_address(text: &str) -> Result<[u8; 6], String> {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|part| {
            u8::from_str_radix(part, 16).map_err(|_| format!("{part} is not a byte in hexadecimal"))
        })
        .collect::<Result<_, _>>()?;
    bytes.try_into().map_err(|_| String::from("six bytes are needed, as in 02:00:00:00:00:01"))
}
