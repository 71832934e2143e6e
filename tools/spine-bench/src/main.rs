//! The paper's experiments on the model of its adapter, and the model by hand.

mod experiments;
mod lanai_run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Repeat the paper's experiments on the model of its adapter.
    Lanai(experiments::Arguments),
    LanaiRun(lanai_run::Args),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Lanai(arguments) => experiments::main(&arguments),
        Command::LanaiRun(args) => lanai_run::run(&args),
    }
}
