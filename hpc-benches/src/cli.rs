//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::compare::tuned::Baseline;
use crate::compare::{Plan, Platform, Suite, apps, mpi, openmp, startup};
use crate::load::{self, generator};
use crate::quantity::at_least_one;
use crate::scale;
use crate::suites::{calls, memory, noise};
use crate::why;

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
    /// Measure what disturbs a core, or all: fixed-work and fixed-time quantum, hourglass, selfish detour
    Noise(Noise),
    /// Measure what calls cost here
    Calls(OneSided<calls::Settings>),
    /// Measure how fast this core reaches memory, and what pages cost
    Memory(OneSided<memory::Settings>),
    /// Compare how programs start and end, and the memory that they take, natively and in a cell
    Startup(Startup),
    /// Compare messages, collectives and a bulk-synchronous loop of MPI ranks, natively and each in a cell
    Mpi(Mpi),
    /// Run suites natively and in a cell in turn and say what differs
    Compare(Box<Compare>),
    /// Simulate what measured noise would cost a job of up to a million ranks and more
    Scale(scale::Settings),
    /// Watch a core and explain what disturbs it, and what would remove each source
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
    /// What to make of Linux: as the node has it (side native), and tuned for the measured cores while a run
    /// lasts (side native-tuned) [default: both where the node lets us; tuning needs root]
    #[arg(long, value_name = "BASELINE", value_enum, value_delimiter = ',', env = "TACET_BENCH_BASELINE")]
    baseline: Option<Vec<Baseline>>,
    /// Kill a run that takes longer, and give up
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Write the results as JSON to FILE, or to standard output in place of the table with `-`
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write one row per suite, measure, side and run to FILE, or to standard output with `-`
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write a report with plots to FILE: one page that needs nothing else, for a browser
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Tell what changed since the comparison that --json wrote to FILE
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
}

/// What can be compared.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SuiteName {
    /// Fixed-work and fixed-time quantum, hourglass, selfish detour
    Noise,
    /// System calls, memory, computing
    Calls,
    /// STREAM, random access, pointer chase, pages
    Memory,
    /// Start and end of programs, and their memory
    Startup,
    /// Constructs of OpenMP
    Openmp,
    /// Messages, collectives and a bulk-synchronous loop of MPI ranks
    Mpi,
    /// Mini-apps with MPI and threads; the options of suite mpi say which MPI
    Apps,
}

/// `tacet-bench startup`.
#[derive(Args, Debug)]
pub struct Startup {
    /// Starts per side
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = at_least_one)]
    runs: usize,
    #[command(flatten)]
    startup: startup::Settings,
    #[command(flatten)]
    mpi: mpi::Launcher,
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
    #[command(flatten, next_help_heading = "Suite noise")]
    load: load::Settings,
    #[command(flatten, next_help_heading = "Suite calls")]
    calls: calls::Settings,
    #[command(flatten, next_help_heading = "Suite memory")]
    memory: memory::Settings,
    #[command(flatten, next_help_heading = "Suite startup (with the launcher of suite mpi)")]
    startup: startup::Settings,
    #[command(flatten, next_help_heading = "Suite openmp")]
    openmp: openmp::Settings,
    #[command(flatten, next_help_heading = "Suite mpi")]
    mpi: mpi::Settings,
    #[command(flatten, next_help_heading = "Suite apps")]
    apps: apps::Settings,
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
            baselines: self.baseline,
            cycles: false,
            json: self.json,
            csv: self.csv,
            html: self.html,
            against: self.against,
            timeout_seconds: self.timeout,
        }
    }
}

impl Startup {
    /// The comparison asked for.
    pub fn into_plan(self) -> Plan {
        self.sides.into_plan(vec![Suite::Startup(self.startup, self.mpi)], self.runs)
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
            .flat_map(|name| match name {
                // Without load first: what differs between the two is the load's doing.
                SuiteName::Noise => {
                    let loaded = (!self.load.load.is_empty()).then(|| self.load.clone());
                    let loaded = loaded.map(|load| Suite::Noise(self.noise.clone(), Some(load)));
                    [Some(Suite::Noise(self.noise.clone(), None)), loaded].into_iter().flatten().collect()
                }
                SuiteName::Calls => vec![Suite::Calls(self.calls.clone())],
                SuiteName::Memory => vec![Suite::Memory(self.memory.clone())],
                SuiteName::Startup => vec![Suite::Startup(self.startup.clone(), self.mpi.mpi.clone())],
                SuiteName::Openmp => vec![Suite::Openmp(self.openmp.clone())],
                SuiteName::Mpi => vec![Suite::Mpi(self.mpi.clone())],
                SuiteName::Apps => vec![Suite::Apps(self.apps.clone(), self.mpi.mpi.clone())],
            })
            .collect();
        Plan { cycles: self.calls.cycles, ..self.sides.into_plan(suites, self.pairs) }
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
    fn with_load_the_suite_noise_runs_without_and_with_it() {
        let cli = Cli::parse_from(["tacet-bench", "compare", "noise", "startup", "--load", "io,fork"]);
        let Command::Compare(compare) = cli.command else {
            panic!("compare was given");
        };
        let plan = compare.into_plan();
        let names: Vec<&str> = plan.suites.iter().map(Suite::name).collect();
        assert_eq!(names, ["noise", "noise-loaded", "startup"]);
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
