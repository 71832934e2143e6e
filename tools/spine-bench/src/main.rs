//! The paper's experiments on the model of its adapter, and the model by hand.

mod experiments;

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
}

fn main() -> std::process::ExitCode {
    match Cli::parse().command {
        Command::Lanai(arguments) => experiments::main(&arguments),
    }
}
