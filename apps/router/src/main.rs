//! `spine-router`: turns this machine's kernel router into a SPINE router.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use spine_client::voice;
use spine_router::control::client;
use spine_router::control::command::CommandLine;
use spine_router::start::{self, Ended, Failure};
use tracing_subscriber::EnvFilter;

/// Of a command line that cannot be followed, as the parser has it, too.
const MISUSE: u8 = 2;

fn main() -> ExitCode {
    let CommandLine { question, options } = CommandLine::parse();
    if let Some(question) = question {
        return client::run(&question).map_or_else(
            |error| {
                voice::say(format_args!("spine-router: {error}"));
                ExitCode::FAILURE
            },
            |()| ExitCode::SUCCESS,
        );
    }
    let level = match options.verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| voice::Log).init();
    match start::run(&options) {
        Ok(Ended { report, failure }) => {
            let text = if options.json { report.to_json() } else { report.to_string() };
            // Whoever closed standard output does not want it.
            let _ = writeln!(std::io::stdout(), "{text}");
            failure.as_ref().map_or(ExitCode::SUCCESS, refused)
        }
        Err(failure) => refused(&failure),
    }
}

/// Says why, and how to exit.
fn refused(failure: &Failure) -> ExitCode {
    voice::say(format_args!("spine-router: {failure}"));
    match failure {
        Failure::Misuse(_) => ExitCode::from(MISUSE),
        _ => ExitCode::FAILURE,
    }
}
