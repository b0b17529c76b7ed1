//! `tacet-bench`: the same binary measured natively and in a cell, side by side.
//!
//! Floors, each using only those below:
//!
//! ```text
//! cli, output, noise   what the user types, what the user gets
//! scale/               simulates jobs of many ranks on measured noise
//! compare/             runs both sides in turn and compares them
//! load/                what other cores do meanwhile
//! why/                 what disturbed a core, in words
//! tuning/              a tuned Linux for one side, set up and put back
//! suites/              one-sided measurements, in whatever environment they run
//! report, emulated, attribution, stats/, quantity
//!                      what a run says; statistics on plain numbers (pure)
//! machine/             counter, calls and record of the machine: all unsafe code is here
//! ```

mod attribution;
mod cli;
mod compare;
mod emulated;
mod error;
mod load;
mod machine;
mod noise;
mod output;
#[cfg(test)]
mod parsed;
mod quantity;
mod report;
mod scale;
mod stats;
mod suites;
mod tuning;
mod why;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::error::Failure;
use crate::output::{ComparisonOutput, Output, WithCycles};

fn main() -> ExitCode {
    let cli = cli::parse();
    if !matches!(cli.command, Command::Restore) {
        tuning::recovery::at_start();
    }
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("tacet-bench: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Noise(options) => noise::measure(&options),
        Command::Calls(options) => {
            let output = Output::open(options.json.as_deref())?;
            output.write(&WithCycles::of(suites::calls::run(&options.settings)?, options.settings.cycles))
        }
        Command::Memory(options) => {
            let output = Output::open(options.json.as_deref())?;
            output.write(&suites::memory::run(&options.settings)?)
        }
        Command::Startup(options) => compare_suites(&options.into_plan()),
        Command::Mpi(options) => compare_suites(&options.into_plan()),
        Command::Compare(options) => compare_suites(&options.into_plan()),
        Command::Scale(settings) => scale::run(&settings),
        Command::Why(options) => {
            let output = Output::open(options.json.as_deref())?;
            output.write(&why::run(&options.settings)?)
        }
        Command::Restore => output::print(&(tuning::recovery::restore()? + "\n")),
        Command::EndTracing { instance } => machine::tracefs::remove_when_input_ends(&instance)
            .map_err(|error| Failure::new(format!("cannot remove {}: {error}; use rmdir as root", instance.display()))),
        Command::LoadGenerator(options) => match load::generator::run(&options)? {},
    }
}

/// Opens the output first, so that an unwritable file is told before minutes of measuring.
fn compare_suites(plan: &compare::Plan) -> Result<(), Failure> {
    machine::scratch::remove_left_over(&std::env::temp_dir());
    let output = ComparisonOutput::open(plan)?;
    let outcome = compare::run(plan)?;
    output.write(&outcome.comparison)?;
    outcome.failure.map_or(Ok(()), Err)
}
