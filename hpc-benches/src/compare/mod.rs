//! Both sides of every measure, in turn, in one run, on the same core.
//!
//! Runs go native, cell, native, cell, … and end with one more native run, so that every cell
//! run has a native run before and after it and the native runs among themselves are the
//! control (see [`crate::stats::verdict`]).

pub mod compiled;
pub mod launch;
pub mod mpi;
pub mod openmp;
pub mod result;
mod side;
mod workload;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::ValueEnum;

pub use self::result::Comparison;
use self::result::{COMPARE_SCHEMA, Run, SuiteComparison};
use self::side::Side;
use self::workload::Workload;
use crate::error::Failure;
use crate::machine::host;
use crate::machine::record::Recorder;
use crate::suites::{calls, noise};

/// A suite to compare, with the parameters that all its sides get.
#[derive(Clone, Debug)]
pub enum Suite {
    /// Fixed-work quantum and selfish detour.
    Noise(noise::Settings),
    /// System calls, memory, computing.
    Calls(calls::Settings),
    /// Start and end of a small program.
    Startup,
    /// Constructs of OpenMP.
    Openmp(openmp::Settings),
    /// Messages and collectives of two MPI ranks.
    Mpi(mpi::Settings),
}

/// Platforms that a cell can run on; the sides of a comparison bear their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Platform {
    /// A fenced Linux process
    Process,
    /// A virtual machine
    Kvm,
    /// Bare cores
    Partition,
}

/// A comparison as asked for.
pub struct Plan {
    /// Suites, in order.
    pub suites: Vec<Suite>,
    /// Pairs of runs per suite.
    pub pairs: usize,
    /// Core to measure; by default the last one allowed.
    pub core: Option<usize>,
    /// The `tacet` to use; by default the one beside this program, else the one in PATH.
    pub tacet: Option<PathBuf>,
    /// Further options for `tacet run`.
    pub tacet_arguments: Vec<String>,
    /// Platforms to set against native.
    pub platforms: Vec<Platform>,
    /// Where to write JSON.
    pub json: Option<PathBuf>,
    /// Seconds after which a run counts as hanging.
    pub timeout_seconds: u64,
}

impl Suite {
    /// Name, as the tables print it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Noise(_) => "noise",
            Self::Calls(_) => "calls",
            Self::Startup => "startup",
            Self::Openmp(_) => "openmp",
            Self::Mpi(_) => "mpi",
        }
    }
}

impl Platform {
    /// Name, as `tacet run --platform` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Kvm => "kvm",
            Self::Partition => "partition",
        }
    }
}

/// Runs every suite of `plan`. All that can be missing is looked for before the first run.
pub fn run(plan: &Plan) -> Result<Comparison, Failure> {
    let core = choose_core(plan.core, &allowed_cores()?)?;
    let tacet = side::find_tacet(plan.tacet.as_deref())?;
    let workloads: Vec<Workload> =
        plan.suites.iter().map(|suite| Workload::prepare(suite, plan.timeout_seconds)).collect::<Result<_, _>>()?;
    let recorder = Recorder::start(Some(core));
    let suites = workloads
        .iter()
        .map(|workload| {
            let sides = side::sides(workload, plan, &tacet, core);
            run_suite(workload, &sides, plan.pairs)
        })
        .collect::<Result<_, _>>()?;
    Ok(Comparison {
        schema: COMPARE_SCHEMA.to_owned(),
        core,
        pairs: plan.pairs,
        environment: recorder.finish(),
        suites,
    })
}

fn run_suite(workload: &Workload, sides: &[Side], pairs: usize) -> Result<SuiteComparison, Failure> {
    let order = schedule(sides.len(), pairs);
    let progress = Progress::of(workload.suite(), order.len());
    let mut runs: Vec<Vec<Run>> = sides.iter().map(|_| Vec::new()).collect();
    for (number, &index) in order.iter().enumerate() {
        let side = &sides[index];
        progress.show(number, &side.name);
        let run = workload.run(side);
        progress.clear();
        runs[index].push(run?);
    }
    let sides = sides
        .iter()
        .zip(runs)
        .map(|(side, runs)| result::SideRuns {
            name: side.name.clone(),
            commands: side.printable(),
            pinned_core: side.core,
            runs,
        })
        .collect();
    Ok(result::assemble(workload.suite(), sides))
}

/// Indices of sides in the order in which they run; side 0 is native and also runs last.
fn schedule(sides: usize, pairs: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pairs).flat_map(|_| 0..sides).collect();
    order.push(0);
    order
}

fn allowed_cores() -> Result<Vec<usize>, Failure> {
    host::allowed_cores().map_err(|error| {
        Failure::new(format!("cannot read this process's affinity mask: {error}; start it outside any sandbox"))
    })
}

fn choose_core(asked: Option<usize>, allowed: &[usize]) -> Result<usize, Failure> {
    match asked {
        None => allowed
            .last()
            .copied()
            .ok_or_else(|| Failure::new("this process may run on no core; start it without an affinity mask")),
        Some(core) if allowed.contains(&core) => Ok(core),
        Some(core) => {
            let list: Vec<String> = allowed.iter().map(usize::to_string).collect();
            Err(Failure::new(format!(
                "core {core} is not among the cores this process may use; choose one of {}",
                list.join(", ")
            )))
        }
    }
}

/// One line on a terminal that tells what runs; nothing elsewhere.
struct Progress {
    suite: &'static str,
    runs: usize,
    visible: bool,
}

impl Progress {
    fn of(suite: &'static str, runs: usize) -> Self {
        let visible = io::stderr().is_terminal();
        Self { suite, runs, visible }
    }

    fn show(&self, number: usize, side: &str) {
        let (suite, runs) = (self.suite, self.runs);
        self.print(&format!("{suite}: run {} of {runs}, {side}", number + 1));
    }

    fn clear(&self) {
        self.print("");
    }

    fn print(&self, line: &str) {
        if self.visible {
            // ESC [ K erases to the end of the line (ECMA-48 EL). A lost line harms nothing.
            let _ = write!(io::stderr(), "\r{line}\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_take_turns_and_native_closes() {
        assert_eq!(schedule(2, 3), [0, 1, 0, 1, 0, 1, 0]);
        assert_eq!(schedule(3, 2), [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn the_last_allowed_core_is_the_default() {
        assert_eq!(choose_core(None, &[0, 2, 5]).unwrap(), 5);
        assert_eq!(choose_core(Some(2), &[0, 2, 5]).unwrap(), 2);
        let failure = choose_core(Some(1), &[0, 2, 5]).unwrap_err();
        assert!(failure.to_string().ends_with("choose one of 0, 2, 5"));
        assert!(choose_core(None, &[]).is_err());
    }
}
