//! What the sides run.

use std::ffi::OsString;
use std::time::Duration;

use super::agreement::Agreement;
use super::compiled::{self, Program};
use super::placement::allowed_cores;
use super::reading::{self, Reading};
use super::result::Run;
use super::side::Side;
use super::startup::Startup;
use super::{Suite, cell_stats, launch};
use crate::error::Failure;
use crate::load;
use crate::suites::noise;

/// The programs that make up one run, the same on all sides of a suite.
pub struct Workload {
    suite: &'static str,
    launcher: Vec<OsString>,
    programs: Vec<Vec<OsString>>,
    /// Which programs are run once before the run that counts; none where empty.
    rehearsals: Vec<bool>,
    reading: Reading,
    limit: Duration,
    /// Whether all sides use the same single core; else all that there are.
    one_core: bool,
    /// The cores that all sides use, where there are several and the suite names them.
    all_cores: Vec<usize>,
    /// What the cores that are not measured do meanwhile, if anything.
    load: Option<load::Settings>,
    /// How long a run takes, where that is known before.
    expected: Option<Duration>,
    /// The programs that were compiled, which may live no longer than this.
    compiled: Vec<Program>,
    /// What each program computed, which must be the same in all runs.
    agreement: Agreement,
    /// The suite whose programs each have a way of their own to run.
    startup: Option<Startup>,
}

impl Workload {
    /// The workload of `suite`, whose runs may take `timeout_seconds` each.
    pub fn prepare(suite: &Suite, timeout_seconds: u64) -> Result<Self, Failure> {
        let workload = |programs, reading| Self {
            suite: suite.name(),
            launcher: Vec::new(),
            programs,
            rehearsals: Vec::new(),
            reading,
            limit: Duration::from_secs(timeout_seconds),
            one_core: true,
            all_cores: Vec::new(),
            load: None,
            expected: None,
            compiled: Vec::new(),
            agreement: Agreement::default(),
            startup: None,
        };
        Ok(match suite {
            Suite::Noise(settings, load) => {
                settings.check()?;
                let length = Duration::from_secs_f64(settings.seconds);
                Self {
                    // Of two cores that --all-cores measures none is the core of the comparison.
                    one_core: !settings.all_cores,
                    all_cores: if settings.all_cores { noise::cores(settings, None)? } else { Vec::new() },
                    load: load.clone(),
                    expected: Some(length),
                    limit: Duration::from_secs(timeout_seconds) + length,
                    ..workload(vec![reading::own("noise", settings.to_arguments())?], Reading::Report)
                }
            }
            Suite::Calls(settings) => {
                settings.check()?;
                let processes = settings.processes().into_iter();
                let programs = processes.map(|arguments| reading::own("calls", arguments)).collect::<Result<_, _>>()?;
                Self { rehearsals: settings.rehearsals(), ..workload(programs, Reading::Report) }
            }
            Suite::CallsAcross(settings) => {
                settings.check()?;
                let programs = settings.across().map(|arguments| reading::own("calls", arguments)).transpose()?;
                Self { one_core: false, ..workload(programs.into_iter().collect(), Reading::Report) }
            }
            Suite::Memory(settings) => {
                settings.check()?;
                let processes = settings.processes().into_iter();
                let programs =
                    processes.map(|arguments| reading::own("memory", arguments)).collect::<Result<_, _>>()?;
                Self { rehearsals: settings.rehearsals(), ..workload(programs, Reading::Report) }
            }
            Suite::Startup(settings, launcher) => {
                Self { startup: Some(Startup::prepare(settings, launcher)?), ..workload(Vec::new(), Reading::Lines) }
            }
            Suite::Mpi(settings) => {
                let program = settings.program()?;
                let words = [vec![program.path().into()], settings.arguments(&program)].concat();
                Self {
                    launcher: settings.launcher(),
                    one_core: false,
                    compiled: vec![program],
                    ..workload(vec![words], Reading::Lines)
                }
            }
            Suite::Apps(settings, launcher) => {
                settings.check()?;
                let compiled = settings.programs(launcher.compiler())?;
                let programs = settings.command_lines(&compiled, launcher.ranks(), &allowed_cores()?);
                Self { launcher: launcher.words(), one_core: false, compiled, ..workload(programs, Reading::Lines) }
            }
            Suite::Openmp(settings) => {
                let program = settings.program()?;
                let path = program.path().into();
                Self { one_core: false, compiled: vec![program], ..workload(vec![vec![path]], Reading::Lines) }
            }
        })
    }

    /// Name of the suite.
    pub fn suite(&self) -> &'static str {
        self.suite
    }

    /// The command lines of a run, in the order in which it takes them, with `wrapper` before the programs; in
    /// suites on one core, with `rank_wrapper` before those that an MPI launcher starts all the same.
    pub fn commands(&self, wrapper: &[OsString], rank_wrapper: &[OsString]) -> Vec<Vec<OsString>> {
        match &self.startup {
            Some(startup) => startup.commands(wrapper, rank_wrapper),
            None => self.programs.iter().map(|program| [&self.launcher, wrapper, program].concat()).collect(),
        }
    }

    /// Whether all sides use the same single core. An MPI launcher places its ranks itself, and threads are
    /// for several.
    pub fn runs_on_one_core(&self) -> bool {
        self.one_core
    }

    /// The cores that all sides use, where there are several and the suite names them.
    pub fn all_cores(&self) -> &[usize] {
        &self.all_cores
    }

    /// What the cores that are not measured do meanwhile, if anything.
    pub fn load(&self) -> Option<&load::Settings> {
        self.load.as_ref()
    }

    /// How long a run takes, where that is known before.
    pub fn expected(&self) -> Option<Duration> {
        self.expected
    }

    /// How long a run about takes: what is known of it, or what it took on a node of two cores.
    pub fn usual_length(&self) -> Duration {
        const OVERHEAD: Duration = Duration::from_millis(300);
        let seconds = match self.suite {
            "calls" => 12,
            "calls-across" => 2,
            "memory" => 10,
            "startup" => 2,
            "mpi" => 3,
            _ => 8,
        };
        self.expected.map_or(Duration::from_secs(seconds), |expected| expected + OVERHEAD)
    }

    /// Whether the counters of a cell belong to the results.
    pub fn reads_cell_counters(&self) -> bool {
        self.expected.is_some()
    }

    /// Runs every program on `side`: once, or, after a rehearsal, once for the record.
    pub fn run(&self, side: &Side) -> Result<Run, Failure> {
        if let Some(startup) = &self.startup {
            return startup.run(side, self.limit);
        }
        let mut whole = Run::of(Vec::new());
        for (index, command) in side.commands.iter().enumerate() {
            if self.rehearsals.get(index).is_some_and(|rehearsed| *rehearsed) {
                self.run_program(side, index, command)?;
            }
            let part = self.run_program(side, index, command)?;
            whole.core = part.core;
            whole.measures.extend(part.measures);
            whole.not_measured.extend(part.not_measured);
            whole.attribution = whole.attribution.or(part.attribution);
            whole.cores.extend(part.cores);
        }
        Ok(whole)
    }

    fn run_program(&self, side: &Side, index: usize, command: &[OsString]) -> Result<Run, Failure> {
        let finished = launch::run(&format!("side {}", side.name), command, side.pin, self.limit)
            .map_err(|failure| self.with_way_to_repeat(failure, index))?;
        match self.reading {
            Reading::Report => {
                let mut run = reading::report(&side.name, &finished.stdout)?;
                if let Some(found) = &mut run.attribution {
                    cell_stats::add(found, &cell_stats::entries(&finished.stderr));
                }
                Ok(run)
            }
            Reading::Lines => {
                self.agreement.check(index, &side.name, &finished.stdout)?;
                compiled::read_lines(&side.name, &finished.stdout).map(Run::of)
            }
        }
    }

    /// A program that is compiled for the run is gone after it.
    fn with_way_to_repeat(&self, failure: Failure, index: usize) -> Failure {
        match self.compiled.get(index) {
            Some(program) if program.is_temporary() => Failure::with_status(
                failure.status(),
                format!(
                    "{failure} (with {} compiled by you from hpc-benches/programs: this copy is removed)",
                    program.path().file_name().unwrap_or_default().display()
                ),
            ),
            _ => failure,
        }
    }
}
