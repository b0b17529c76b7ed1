//! `tacet-bench compare`, and the suites that are comparisons by themselves.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, ValueEnum};

use crate::compare::tuned::Baseline;
use crate::compare::{Plan, Platform, Suite, apps, mpi, openmp, startup};
use crate::load;
use crate::quantity::at_least_one;
use crate::suites::{calls, memory, noise};

/// Where no suite is named, a run of those that have a length takes so long unless the user says otherwise.
const SHORT_SECONDS: f64 = 1.0;

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
    /// Platforms to compare with native [default: process, and those that `tacet doctor` says this node can have]
    #[arg(long, value_name = "PLATFORM", value_enum, value_delimiter = ',', env = "TACET_BENCH_PLATFORM")]
    platform: Option<Vec<Platform>>,
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
    /// Suites to run, in this order [default: all, in short runs; how long it takes is said first]
    #[arg(value_enum, value_name = "SUITE")]
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
            is_everything: false,
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
    /// Shortens the runs where no suite is named, unless the user has given lengths in `words`.
    pub fn shorten(&mut self, words: &ArgMatches) {
        let is_default = |id| words.value_source(id) == Some(ValueSource::DefaultValue);
        if !self.suites.is_empty() {
            return;
        }
        if is_default("seconds") {
            self.noise.seconds = SHORT_SECONDS;
        }
        if is_default("mpi_seconds") {
            self.mpi.mpi_seconds = SHORT_SECONDS;
        }
    }

    /// The comparison asked for.
    pub fn into_plan(self) -> Plan {
        let is_everything = self.suites.is_empty();
        let named = if is_everything { SuiteName::value_variants() } else { &self.suites };
        let suites = named
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
        Plan { is_everything, cycles: self.calls.cycles, ..self.sides.into_plan(suites, self.pairs) }
    }
}
