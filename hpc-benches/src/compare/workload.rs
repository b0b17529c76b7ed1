//! What the sides run, and how a run is read.

use std::env;
use std::ffi::OsString;
use std::time::Duration;

use super::agreement::Agreement;
use super::compiled::{self, Program};
use super::result::Run;
use super::side::Side;
use super::startup::Startup;
use super::{Suite, allowed_cores, cell_stats, launch};
use crate::error::Failure;
use crate::load;
use crate::report::{RUN_SCHEMA, RunReport};
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

/// Where the numbers of a run come from.
#[derive(Clone, Copy)]
enum Reading {
    /// A [`RunReport`] on standard output.
    Report,
    /// `measure` lines on standard output.
    Lines,
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
                    ..workload(vec![own("noise", settings.to_arguments())?], Reading::Report)
                }
            }
            Suite::Calls(settings) => {
                settings.check()?;
                let processes = settings.processes().into_iter();
                let programs = processes.map(|arguments| own("calls", arguments)).collect::<Result<_, _>>()?;
                Self { rehearsals: settings.rehearsals(), ..workload(programs, Reading::Report) }
            }
            Suite::CallsAcross(settings) => {
                settings.check()?;
                let programs = settings.across().map(|arguments| own("calls", arguments)).transpose()?;
                Self { one_core: false, ..workload(programs.into_iter().collect(), Reading::Report) }
            }
            Suite::Memory(settings) => {
                settings.check()?;
                let processes = settings.processes().into_iter();
                let programs = processes.map(|arguments| own("memory", arguments)).collect::<Result<_, _>>()?;
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
                let mut run = read_report(&side.name, &finished.stdout)?;
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

fn own(suite: &str, arguments: Vec<String>) -> Result<Vec<OsString>, Failure> {
    let program = env::current_exe()
        .map_err(|error| Failure::new(format!("cannot find this program's own file: {error}; mount /proc")))?;
    let mut words = vec![program.into_os_string(), suite.into()];
    words.extend(arguments.into_iter().map(OsString::from));
    words.push("--json=-".into());
    Ok(words)
}

fn read_report(side: &str, stdout: &str) -> Result<Run, Failure> {
    let unreadable = |why: String| {
        Failure::new(format!(
            "side {side} printed no measurements: {why}; use one version of tacet-bench and a tacet that leaves standard output alone"
        ))
    };
    let report: RunReport = serde_json::from_str(stdout).map_err(|error| unreadable(error.to_string()))?;
    if report.schema != RUN_SCHEMA {
        return Err(unreadable(format!("its layout is {}", report.schema)));
    }
    Ok(Run {
        core: report.core,
        attribution: report.attribution,
        cores: report.cores,
        not_measured: report.not_measured,
        ..Run::of(report.measures)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_report_is_refused_in_one_line() {
        let failure = read_report("process", "hello\n").err().unwrap();
        assert!(failure.to_string().starts_with("side process printed no measurements"));
    }
}
