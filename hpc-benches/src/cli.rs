//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::compare::{Plan, Platform, Suite, mpi, openmp};
use crate::suites::{calls, noise};

/// Measures Linux and Tacet's cells side by side, with the same binary.
///
/// Each benchmark, why it is there, how to read it and its source: docs/benchmarks.md.
#[derive(Parser, Debug)]
#[command(name = "tacet-bench", version, max_term_width = 100)]
pub struct Cli {
    /// What to measure.
    #[command(subcommand)]
    pub command: Command,
}

/// What to measure.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Measure what disturbs this core: fixed-work quantum and selfish detour
    Noise(OneSided<noise::Settings>),
    /// Measure what calls cost here
    Calls(OneSided<calls::Settings>),
    /// Compare the start and end of /bin/true, natively and in a cell
    Startup(Startup),
    /// Compare messages and collectives of two MPI ranks, natively and each in its own cell
    Mpi(Mpi),
    /// Run suites natively and in a cell in turn and say what differs
    Compare(Compare),
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

/// What all comparisons take.
#[derive(Args, Debug)]
pub struct Sides {
    /// Core to measure [default: the last one that this process may use]
    #[arg(long, value_name = "C")]
    core: Option<usize>,
    /// The tacet to use [default: the one beside this program, else the one in PATH]
    #[arg(long, value_name = "PATH")]
    tacet: Option<PathBuf>,
    /// Further option for `tacet run`; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    tacet_arg: Vec<String>,
    /// Platforms to compare with native
    #[arg(long, value_name = "PLATFORM", value_enum, value_delimiter = ',', default_value = "process")]
    platform: Vec<Platform>,
    /// Kill a run that takes longer, and give up
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Write the results as JSON to FILE, or to standard output in place of the table with `-`
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What can be compared.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SuiteName {
    /// Fixed-work quantum and selfish detour
    Noise,
    /// System calls, memory, computing
    Calls,
    /// Start and end of a small program
    Startup,
    /// Constructs of OpenMP
    Openmp,
    /// Messages and collectives of two MPI ranks
    Mpi,
}

/// `tacet-bench startup`.
#[derive(Args, Debug)]
pub struct Startup {
    /// Starts per side
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = at_least_one)]
    runs: usize,
    #[command(flatten)]
    sides: Sides,
}

/// `tacet-bench mpi`.
#[derive(Args, Debug)]
pub struct Mpi {
    /// Pairs of runs, native and cell
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_one)]
    pairs: usize,
    #[command(flatten)]
    mpi: mpi::Settings,
    #[command(flatten)]
    sides: Sides,
}

/// `tacet-bench compare`.
#[derive(Args, Debug)]
pub struct Compare {
    /// Suites to run, in this order
    #[arg(value_enum, required = true)]
    suites: Vec<SuiteName>,
    /// Pairs of runs, native and cell; fewer than 5 allow no conclusion
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_one)]
    pairs: usize,
    #[command(flatten)]
    sides: Sides,
    #[command(flatten, next_help_heading = "Suite noise")]
    noise: noise::Settings,
    #[command(flatten, next_help_heading = "Suite calls")]
    calls: calls::Settings,
    #[command(flatten, next_help_heading = "Suite openmp")]
    openmp: openmp::Settings,
    #[command(flatten, next_help_heading = "Suite mpi")]
    mpi: mpi::Settings,
}

impl Sides {
    fn into_plan(self, suites: Vec<Suite>, pairs: usize) -> Plan {
        Plan {
            suites,
            pairs,
            core: self.core,
            tacet: self.tacet,
            tacet_arguments: self.tacet_arg,
            platforms: self.platform,
            json: self.json,
            timeout_seconds: self.timeout,
        }
    }
}

impl Startup {
    /// The comparison asked for.
    pub fn into_plan(self) -> Plan {
        self.sides.into_plan(vec![Suite::Startup], self.runs)
    }
}

impl Mpi {
    /// The comparison asked for.
    pub fn into_plan(self) -> Plan {
        self.sides.into_plan(vec![Suite::Mpi(self.mpi)], self.pairs)
    }
}

impl Compare {
    /// The comparison asked for.
    pub fn into_plan(self) -> Plan {
        let suites = self
            .suites
            .iter()
            .map(|name| match name {
                SuiteName::Noise => Suite::Noise(self.noise.clone()),
                SuiteName::Calls => Suite::Calls(self.calls.clone()),
                SuiteName::Startup => Suite::Startup,
                SuiteName::Openmp => Suite::Openmp(self.openmp.clone()),
                SuiteName::Mpi => Suite::Mpi(self.mpi.clone()),
            })
            .collect();
        self.sides.into_plan(suites, self.pairs)
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 is needed".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("not a number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn suites_run_in_the_order_given() {
        let cli = Cli::parse_from(["tacet-bench", "compare", "calls", "noise", "--seconds", "2"]);
        let Command::Compare(compare) = cli.command else {
            panic!("compare was given");
        };
        let plan = compare.into_plan();
        let names: Vec<&str> = plan.suites.iter().map(Suite::name).collect();
        assert_eq!(names, ["calls", "noise"]);
        assert_eq!((plan.pairs, plan.core), (5, None));
        assert_eq!(plan.platforms, [Platform::Process]);
    }
}
