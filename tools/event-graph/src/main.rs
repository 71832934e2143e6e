//! Draws what an adapter did, event by event: the paper's Figure 6.

mod draw;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Draws a trace as an event graph: a box for each event, a row for each kind, a colour for each packet.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// The trace, as `spine-bench lanai --trace FILE` writes it.
    trace: PathBuf,
    /// The picture: SVG.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Where to begin, in microseconds from the start of the trace.
    #[arg(long, value_name = "US", default_value_t = 0.0)]
    from: f64,
    /// How much to draw, in microseconds.
    #[arg(long, value_name = "US", default_value_t = 200.0)]
    length: f64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("event-graph: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let (from, length) = (arguments.from, arguments.length);
    if !(from >= 0.0 && length > 0.0 && (from + length).is_finite()) {
        return Err("--from must not be negative, and --length more than zero".to_owned());
    }
    let runs = trace::read(&arguments.trace)?;
    let picture = draw::picture(&runs, from, length)?;
    std::fs::write(&arguments.output, picture)
        .map_err(|error| format!("cannot write {}: {error}", arguments.output.display()))
}
