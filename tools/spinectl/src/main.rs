//! `spinectl`: the command line of a running `spined`.
//!
//! Each command is a call or two of the communication library ([`spine_client`]), which is all that
//! any other application has, too: nothing here can do what a program of the same user could not.

mod cli;
mod commands;
mod print;
mod top;

use std::process::ExitCode;

use clap::Parser as _;

/// Of a command line that cannot be followed, as the parser has it, too.
const MISUSE: u8 = 2;

fn main() -> ExitCode {
    let options = cli::Options::parse();
    match commands::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("spinectl: {failure}");
            if failure.is_misuse() { ExitCode::from(MISUSE) } else { ExitCode::FAILURE }
        }
    }
}
