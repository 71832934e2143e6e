//! `spine-video`: network video straight into windows, and a sender for it.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use spine_client::voice;
use spine_video::cli::{Cli, Command, Misuse, Move, Receive, Send};
use spine_video::signals::Signals;
use spine_video::{control, receive, send};
use tracing_subscriber::EnvFilter;

/// Of a command line that cannot be followed, as the parser has it, too.
const MISUSE: u8 = 2;

/// Why it ends badly: a sentence, and how to exit.
struct Failed(String, ExitCode);

impl Failed {
    fn new(error: impl ToString) -> Self {
        Self(error.to_string(), ExitCode::FAILURE)
    }
}

impl From<Misuse> for Failed {
    fn from(misuse: Misuse) -> Self {
        Self(misuse.to_string(), ExitCode::from(MISUSE))
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = match cli.verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| voice::Log).init();
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(sentence, code)) => {
            voice::say(format_args!("spine-video: {sentence}"));
            code
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failed> {
    let signals = Signals::new().map_err(Failed::new)?;
    match &cli.command {
        Some(Command::Send(options)) => send_video(options, &signals),
        Some(Command::Move(Move { window, x, y, control })) => {
            let asked = control::ask(control, &format!("move {window} {x} {y}"));
            asked.map(drop).map_err(Failed::new)
        }
        None => receive_video(&cli.receive, &signals),
    }
}

fn receive_video(options: &Receive, signals: &Signals) -> Result<(), Failed> {
    let report = receive::run(options, signals).map_err(|failure| match failure {
        receive::Failure::Misuse(misuse) => misuse.into(),
        failure => Failed::new(failure),
    })?;
    say(if options.json { report.to_json() } else { report.to_string() });
    Ok(())
}

fn send_video(options: &Send, signals: &Signals) -> Result<(), Failed> {
    let sending = options.options()?;
    if let Some(file) = &options.sdp {
        let description = options.description();
        if file == Path::new("-") {
            say(description.trim_end());
        } else {
            std::fs::write(file, description).map_err(|error| {
                Failed::new(format!("cannot write {}: {error}", file.display()))
            })?;
        }
    }
    let report = send::run(&sending, || signals.came()).map_err(Failed::new)?;
    let json = serde_json::to_string(&report).map_err(Failed::new)?;
    say(if options.json { json } else { report.to_string() });
    Ok(())
}

/// Whoever closed standard output does not want it.
fn say(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
