//! The command line.

mod compare;
mod explained;

use std::path::PathBuf;

use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use self::compare::{Compare, Mpi, Startup};
use crate::load::generator;
use crate::scale;
use crate::suites::{calls, memory, noise};
use crate::why;

/// Measures Linux and Tacet's cells side by side, with the same binary.
///
/// Each benchmark, why it is there, how to read it and its source: docs/benchmarks.md.
#[derive(Parser, Debug)]
#[command(name = "tacet-bench", version, max_term_width = 100, after_long_help = explained::all())]
pub struct Cli {
    /// What to measure.
    #[command(subcommand)]
    pub command: Command,
}

/// What to measure.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Measure what disturbs a core, or all: fixed-work and fixed-time quantum, hourglass, selfish detour
    #[command(after_long_help = explained::NOISE.text())]
    Noise(Noise),
    /// Measure what calls cost here
    #[command(after_long_help = explained::CALLS.text())]
    Calls(OneSided<calls::Settings>),
    /// Measure how fast this core reaches memory, and what pages cost
    #[command(after_long_help = explained::MEMORY.text())]
    Memory(OneSided<memory::Settings>),
    /// Compare how programs start and end, and the memory that they take, natively and in a cell
    #[command(after_long_help = explained::STARTUP.text())]
    Startup(Startup),
    /// Compare messages, collectives and a bulk-synchronous loop of MPI ranks, natively and each in a cell
    #[command(after_long_help = explained::MPI.text())]
    Mpi(Mpi),
    /// Run suites natively and in a cell in turn and say what differs
    #[command(after_long_help = explained::all())]
    Compare(Box<Compare>),
    /// Simulate what measured noise would cost a job of up to a million ranks and more
    #[command(after_long_help = explained::SCALE)]
    Scale(scale::Settings),
    /// Watch a core and explain what disturbs it, and what would remove each source
    #[command(after_long_help = explained::WHY)]
    Why(OneSided<why::Settings>),
    /// Put back what a killed comparison has left tuned on this node
    Restore,
    /// Make load on one core; for `compare --load` only.
    #[command(hide = true)]
    LoadGenerator(generator::Options),
    /// Remove a trace instance when standard input ends; for `noise --events` only.
    #[command(hide = true)]
    EndTracing {
        /// Its folder.
        #[arg(long)]
        instance: PathBuf,
    },
}

/// A suite measured in the environment that this process runs in.
#[derive(Args, Debug)]
pub struct OneSided<S: Args> {
    /// Parameters of the suite.
    #[command(flatten)]
    pub settings: S,
    /// Write the results as JSON to FILE, or to standard output in place of the table with `-`
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// `tacet-bench noise`.
#[derive(Args, Debug)]
pub struct Noise {
    /// Parameters of the suite.
    #[command(flatten)]
    pub settings: noise::Settings,
    /// Core to measure [default: the one that it starts on]
    #[arg(long, value_name = "C", conflicts_with = "all_cores")]
    pub core: Option<usize>,
    /// Write all detours to FILE, for `tacet-bench scale`; with --all-cores to a file per core, FILE-C
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// What the trace calls this side
    #[arg(long, value_name = "NAME", default_value = "native", requires = "trace")]
    pub label: String,
    /// Write the results as JSON to FILE, or to standard output in place of the table with `-`
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// A negative number is a value, which whoever takes it refuses in his own words, and no unknown option.
fn command() -> clap::Command {
    Cli::command().mut_subcommands(|command| command.allow_negative_numbers(true))
}

/// The command line of this process; wrong usage ends it with status 2.
pub fn parse() -> Cli {
    let words = command().get_matches();
    let cli = Cli::from_arg_matches(&words).map(|cli| cli.shortened(&words));
    cli.unwrap_or_else(|error| error.exit())
}

impl Cli {
    fn shortened(mut self, words: &ArgMatches) -> Self {
        if let (Command::Compare(compare), Some((_, words))) = (&mut self.command, words.subcommand()) {
            compare.shorten(words);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Plan, Suite};

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn with_load_the_suite_noise_runs_without_and_with_it() {
        let plan = plan(&["noise", "startup", "--load", "io,fork"]);
        assert_eq!(names(&plan), ["noise", "noise-loaded", "startup"]);
    }

    fn plan(words: &[&str]) -> Plan {
        let words = command().get_matches_from([&["tacet-bench", "compare"], words].concat());
        let cli = Cli::from_arg_matches(&words).unwrap().shortened(&words);
        let Command::Compare(compare) = cli.command else {
            panic!("compare was given");
        };
        compare.into_plan()
    }

    fn names(plan: &Plan) -> Vec<&'static str> {
        plan.suites.iter().map(Suite::name).collect()
    }

    fn seconds(plan: &Plan) -> [f64; 2] {
        let mut seconds = [0.0; 2];
        for suite in &plan.suites {
            match suite {
                Suite::Noise(settings, _) => seconds[0] = settings.seconds,
                Suite::Mpi(settings) => seconds[1] = settings.mpi_seconds,
                _ => {}
            }
        }
        seconds
    }

    #[test]
    fn suites_run_in_the_order_given() {
        let plan = plan(&["calls", "noise", "--seconds", "2"]);
        assert_eq!(names(&plan), ["calls", "noise"]);
        assert_eq!((plan.pairs, plan.core, plan.is_everything), (5, None, false));
        assert_eq!(plan.platforms, None);
    }

    #[test]
    fn without_a_suite_all_run_and_shortly() {
        let all = plan(&[]);
        assert_eq!(names(&all), ["noise", "calls", "memory", "startup", "openmp", "mpi", "apps"]);
        assert!(all.is_everything);
        assert_eq!(seconds(&all), [1.0, 1.0]);
        assert_eq!(seconds(&plan(&["--seconds", "4", "--mpi-seconds", "3"])), [4.0, 3.0]);
        assert_eq!(seconds(&plan(&["noise", "mpi"])), [4.0, 4.0]);
    }
}
