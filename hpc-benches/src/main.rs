//! `tacet-bench`: the same binary measured natively and in a cell, side by side.
//!
//! Floors, each using only those below:
//!
//! ```text
//! cli, output          what the user types, what the user gets
//! compare/             runs both sides in turn and compares them
//! suites/              one-sided measurements, in whatever environment they run
//! report, stats/       what a run says; statistics on plain numbers (pure)
//! machine/             counter, calls and record of the machine: all unsafe code is here
//! ```

mod cli;
mod compare;
mod error;
mod machine;
mod output;
mod report;
mod stats;
mod suites;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::error::Failure;
use crate::output::Output;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tacet-bench: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Noise(options) => {
            let output = Output::open(options.json.as_deref())?;
            output.write(&suites::noise::run(&options.settings)?)
        }
        Command::Calls(options) => {
            let output = Output::open(options.json.as_deref())?;
            output.write(&suites::calls::run(&options.settings)?)
        }
        Command::Startup(options) => compare_suites(&options.into_plan()),
        Command::Mpi(options) => compare_suites(&options.into_plan()),
        Command::Compare(options) => compare_suites(&options.into_plan()),
    }
}

/// Opens the output first, so that an unwritable file is told before minutes of measuring.
fn compare_suites(plan: &compare::Plan) -> Result<(), Failure> {
    let output = Output::open(plan.json.as_deref())?;
    output.write(&compare::run(plan)?)
}
