//! `spined`: owns interfaces and their adapters, and lets several applications load extensions on them.
//!
//! One thread does all that clients see (`server`): it polls their sockets and blocks on none. What takes
//! long, linking and preparing an extension, is a job on a thread of its own (`jobs`, `job`), and the linker is
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
mod descriptors;
mod domains;
mod extensions;
mod grants;
mod job;
mod jobs;
mod key;
mod link;
mod log;
mod mail;
mod notify;
mod numbers;
mod peers;
mod place;
mod queue;
mod requests;
mod server;
mod start;
mod statistics;
mod wires;

use std::process::ExitCode;

use clap::Parser as _;
use spine_client::voice;

/// Of a command line or configuration that cannot be followed, as the parser has it, too.
const MISUSE: u8 = 2;

fn main() -> ExitCode {
    // The linker's process: no command line to parse, nothing to configure, and no way back.
    if let Some((domains, room)) = link::asked(std::env::args_os()) {
        return link::child::run(domains, &room);
    }
    let options = cli::Options::parse();
    let level = match options.verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    match start::run(&options, log::start(level)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            voice::say(format_args!("spined: {failure}"));
            if failure.is_misuse() { ExitCode::from(MISUSE) } else { ExitCode::FAILURE }
        }
    }
}
