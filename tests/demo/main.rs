//! `ci/run.sh demo`: real traffic between three namespaces, through the kernel and then through SPINE.
//!
//! Everything happens in namespaces of its own, which are removed at the end, after a failure and after
//! Ctrl-C. It fails if the router lost a ping, is missing in the traceroute, or left more than one packet
//! in a hundred to the kernel.

mod measure;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Parser;
use spine_tests::router::Router;
use spine_tests::topology::remove_all;
use spine_tests::{Topology, need};

use measure::Measured;
use table::Outcome;

#[derive(Debug, Parser)]
#[command(about = "Forwards real traffic between three network namespaces, and says what happened")]
struct Arguments {
    /// The spine-router to run
    #[arg(long)]
    router: PathBuf,
    /// Length of each TCP transfer
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
}

/// Set by Ctrl-C.
static STOPPED: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(reason) = need::why_no_namespaces() {
        eprintln!("demo: {reason}");
        return ExitCode::FAILURE;
    }
    if !arguments.router.exists() {
        eprintln!(
            "demo: {}: there is no such program; ./ci/run.sh demo builds it",
            arguments.router.display()
        );
        return ExitCode::FAILURE;
    }
    let stopped = ctrlc::set_handler(|| {
        STOPPED.store(true, Ordering::SeqCst);
        remove_all();
        eprintln!("demo: stopped; the namespaces are removed");
        std::process::exit(130);
    });
    if let Err(error) = stopped {
        eprintln!("demo: {error}");
        return ExitCode::FAILURE;
    }
    // A helper that panics has said what is wrong: one sentence, and no trace of the stack.
    // After Ctrl-C everything fails, which is not worth a word: the handler ends the process.
    std::panic::set_hook(Box::new(|panic| {
        while STOPPED.load(Ordering::SeqCst) {
            std::thread::park();
        }
        eprintln!("demo: {}", panic.payload_as_str().unwrap_or("something went wrong"));
    }));

    let outcome = run(&arguments);
    println!("\n{outcome}");
    let complaints = outcome.complaints();
    for complaint in &complaints {
        println!("not as it should be: {complaint}");
    }
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(arguments: &Arguments) -> Outcome {
    step("three namespaces: client 10.9.1.2 -- 10.9.1.1 router 10.9.2.1 -- 10.9.2.2 server");
    let net = Topology::pair();

    step("first the kernel alone");
    let by_kernel = measure::all(&net, arguments.seconds);

    step("now spine-router on both interfaces of the router");
    let kernel_before = net.router().kernel_forwarded();
    let router = Router::start_program(&arguments.router, net.router(), &net.interfaces(), &[]);
    for line in router.said().iter().filter(|line| line.contains("AF_PACKET is used")) {
        done(line);
    }
    let (started, used_before) = (Instant::now(), router.processor_time());
    let by_adapters: Measured = measure::all(&net, arguments.seconds);

    step("TCP with the hosts' default offloads, as containers have them");
    measure::switch_offloads(&net, "on");
    let with_offloads = measure::tcp_to_server(&net, arguments.seconds);
    done(&format!("{:.2} Gbit/s", with_offloads.rate / 1e9));

    let (time, used) = (started.elapsed(), router.processor_time() - used_before);
    let report = router.stop();
    Outcome {
        by_kernel,
        by_adapters,
        with_offloads,
        kernel_forwarded: net.router().kernel_forwarded() - kernel_before,
        modes: net.interfaces().iter().map(|name| (*name, report.mode(name))).collect(),
        report,
        processor_share: used.as_secs_f64() / time.as_secs_f64(),
    }
}

fn step(text: &str) {
    println!("-- {text}");
}

fn done(text: &str) {
    println!("   {text}");
}
