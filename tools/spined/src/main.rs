//! `spined`: owns interfaces and their adapters, and lets several applications load extensions on them.
//!
//! One thread does all that clients see (`server`): it polls their sockets and blocks on none. What takes
//! long, linking and preparing an extension, is a job on a thread of its own (`job`), and the linker is
//! another process with nothing to lose (`link`). The adapters run on their processors; of two threads for each,
//! one carries its messages here (`mail`), and one asks it what the server wants to know (`asks`).
//!
//! Privileges: root's capabilities are needed to attach to interfaces; after that only those are left
//! that claims and the linker's process need (`confine`).

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod asks;
mod budget;
mod claim_requests;
mod claims;
mod cli;
mod clients;
mod confine;
mod domains;
mod extensions;
mod job;
mod key;
mod link;
mod mail;
mod notify;
mod peers;
mod place;
mod requests;
mod server;
mod start;
mod statistics;
mod wires;

use std::process::ExitCode;

use clap::Parser as _;
use spine_client::voice;
use tracing_subscriber::EnvFilter;

/// Of a command line or configuration that cannot be followed, as the parser has it, too.
const MISUSE: u8 = 2;

fn main() -> ExitCode {
    // The linker's process: no command line to parse, nothing to configure, and no way back.
    if let Some(domains) = link::asked(std::env::args_os()) {
        return link::child::run(domains);
    }
    let options = cli::Options::parse();
    let level = match options.verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| voice::Log).init();
    match start::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            voice::say(format_args!("spined: {failure}"));
            if failure.is_misuse() { ExitCode::from(MISUSE) } else { ExitCode::FAILURE }
        }
    }
}
