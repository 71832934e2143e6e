//! The paper's experiments on the model of its adapter, the model by hand, and what our adapter's parts take.

mod experiments;
mod lanai_run;
mod parts;

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
    /// A packet's way through the dispatcher and the router extension, beside native code.
    Dispatch(parts::dispatcher::Arguments),
    /// From a stopped handler to the next one, and what one budget takes.
    Watchdog(parts::watchdog::Arguments),
    /// A call from one extension to another.
    Call(parts::call::Arguments),
    /// The forwarding table: a look-up, a change, and how much of it is in use.
    Fib(parts::fib::Arguments),
    /// Messages between an application and its adapter.
    Fifo(parts::fifo::Arguments),
    /// What a neighbour notices of somebody else's cold memory.
    Strangers(parts::strangers::Arguments),
    /// Messages between two machines.
    Hosts(parts::hosts::Arguments),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Lanai(arguments) => return experiments::main(&arguments),
        Command::LanaiRun(args) => return lanai_run::run(&args),
        Command::Dispatch(arguments) => parts::dispatcher::main(&arguments),
        Command::Watchdog(arguments) => parts::watchdog::main(&arguments),
        Command::Call(arguments) => parts::call::main(&arguments),
        Command::Fib(arguments) => parts::fib::main(&arguments),
        Command::Fifo(arguments) => parts::fifo::main(&arguments),
        Command::Strangers(arguments) => parts::strangers::main(&arguments),
        Command::Hosts(arguments) => parts::hosts::main(&arguments),
    }
    ExitCode::SUCCESS
}
