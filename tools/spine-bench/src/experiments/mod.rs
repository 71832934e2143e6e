//! The paper's experiments, on the model of its adapter: `spine-bench lanai`.
//!
//! What runs is the real dispatcher with the real router extension; only time is the model's. Beside
//! each published number stands the model's, and what it is worth: *published* figures went into the
//! model as they are, *fitted* ones were used to choose something (so they confirm nothing), *predicted*
//! ones come out of it.

mod figures;
mod neighbour;
mod observation;
mod packets;
mod policies;
mod report;
mod station;
mod sweeps;
mod traces;

use std::path::PathBuf;
use std::process::ExitCode;

use self::report::Report;
use self::station::Laboratory;

/// Why an experiment cannot be made: a sentence for people.
type Failure = Box<dyn std::error::Error>;

/// What `spine-bench lanai` is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
    /// Only the paper's figures, without sweeps and policies.
    #[arg(long)]
    figures: bool,
    /// Packets with which rates are searched.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    search: u64,
    /// Packets with which the rates of Figure 5 are confirmed: the paper's two million.
    #[arg(long, value_name = "N", default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    confirm: u64,
    /// Write what the card did, loaded and in the best case, for `event-graph`, and do nothing else.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

/// Makes the experiments and prints what they showed.
pub(crate) fn main(arguments: &Arguments) -> ExitCode {
    match run(arguments) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("spine-bench lanai: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<String, Failure> {
    let laboratory = Laboratory::new()?;
    if let Some(path) = &arguments.trace {
        return traces::write(&laboratory, path);
    }
    let report = report(&laboratory, arguments)?;
    if arguments.json { report.json() } else { Ok(report.text()) }
}

fn report(laboratory: &Laboratory, arguments: &Arguments) -> Result<Report, Failure> {
    let mut report = Report::default();
    figures::run(laboratory, arguments.search, arguments.confirm, &mut report)?;
    policies::tuned(laboratory, arguments.search, &mut report)?;
    if !arguments.figures && !arguments.json {
        policies::run(laboratory, arguments.search, &mut report)?;
        sweeps::run(laboratory, arguments.search / 4, &mut report)?;
    }
    Ok(report)
}

#[cfg(test)]
mod tests;
