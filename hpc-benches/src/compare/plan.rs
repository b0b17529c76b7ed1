//! What a comparison is asked for.

use std::path::PathBuf;

use clap::ValueEnum;

use super::tuned::Baseline;
use super::{apps, mpi, openmp, startup};
use crate::load;
use crate::suites::{calls, memory, noise};

/// A suite to compare, with the parameters that all its sides get.
#[derive(Clone, Debug)]
pub enum Suite {
    /// What disturbs a core, beside idle cores or beside load on them.
    Noise(noise::Settings, Option<load::Settings>),
    /// System calls, memory, computing.
    Calls(calls::Settings),
    /// What of the suite `calls` takes several cores.
    CallsAcross(calls::Settings),
    /// STREAM, random access, pointer chase, pages.
    Memory(memory::Settings),
    /// Start and end of programs, and what they take of memory.
    Startup(startup::Settings, mpi::Launcher),
    /// Constructs of OpenMP.
    Openmp(openmp::Settings),
    /// Messages, collectives and a bulk-synchronous loop of MPI ranks.
    Mpi(mpi::Settings),
    /// Mini-apps with MPI and threads, and the MPI to run them with.
    Apps(apps::Settings, mpi::Launcher),
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
    /// Whether these are all that there are, since none was named: those that the node has no means for are left
    /// out then.
    pub is_everything: bool,
    /// Pairs of runs per suite.
    pub pairs: usize,
    /// Core to measure; by default the last one allowed.
    pub core: Option<usize>,
    /// The `tacet` to use; by default the one beside this program, else the one in PATH.
    pub tacet: Option<PathBuf>,
    /// Further options for `tacet run`.
    pub tacet_arguments: Vec<String>,
    /// Platforms to set against native; by default all that the node offers.
    pub platforms: Option<Vec<Platform>>,
    /// What to make of Linux; by default tuned as well where that can be.
    pub baselines: Option<Vec<Baseline>>,
    /// Where to write JSON.
    pub json: Option<PathBuf>,
    /// Where to write a row per run.
    pub csv: Option<PathBuf>,
    /// Where to write the report with plots.
    pub html: Option<PathBuf>,
    /// The older comparison to tell changes from.
    pub against: Option<PathBuf>,
    /// Whether the table has cycles beside times.
    pub cycles: bool,
    /// Seconds after which a run counts as hanging.
    pub timeout_seconds: u64,
}

impl Suite {
    /// Name, as the tables print it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Noise(_, None) => "noise",
            Self::Noise(_, Some(_)) => "noise-loaded",
            Self::Calls(_) => "calls",
            Self::CallsAcross(_) => "calls-across",
            Self::Memory(_) => "memory",
            Self::Startup(..) => "startup",
            Self::Openmp(_) => "openmp",
            Self::Mpi(_) => "mpi",
            Self::Apps(..) => "apps",
        }
    }

    /// What runs on one core and what runs on several are set against native by themselves.
    pub fn parts(&self) -> Vec<Self> {
        let Self::Calls(settings) = self else {
            return vec![self.clone()];
        };
        let across = settings.across().map(|_| Self::CallsAcross(settings.clone()));
        // Where nothing is wanted of either, the first finds out why.
        let on_one = (across.is_none() || !settings.processes().is_empty()).then(|| self.clone());
        on_one.into_iter().chain(across).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_on_several_cores_are_a_suite_of_their_own() {
        let parts = |only: &[&str]| {
            let only = only.iter().map(|name| (*name).to_owned()).collect();
            let suite = Suite::Calls(calls::Settings { only, ..calls::Settings::default() });
            suite.parts().iter().map(Suite::name).collect::<Vec<_>>()
        };
        assert_eq!(parts(&[]), ["calls", "calls-across"]);
        assert_eq!(parts(&["getpid"]), ["calls"]);
        assert_eq!(parts(&["wake-other-core"]), ["calls-across"]);
        assert_eq!(parts(&["no-such-measure"]), ["calls"]);
    }
}
