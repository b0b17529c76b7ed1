//! What the sides run, and how a run is read.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::compiled::{self, Program};
use super::result::Run;
use super::side::Side;
use super::{Suite, launch};
use crate::error::Failure;
use crate::report::{Measure, RUN_SCHEMA, RunReport};

const TRUE: &str = "/bin/true";

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
    /// The program that was compiled, which may live no longer than this.
    compiled: Option<Program>,
}

/// Where the numbers of a run come from.
#[derive(Clone, Copy)]
enum Reading {
    /// A [`RunReport`] on standard output.
    Report,
    /// The time from start to end.
    Elapsed,
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
            compiled: None,
        };
        Ok(match suite {
            Suite::Noise(settings) => {
                settings.check()?;
                workload(vec![own("noise", settings.to_arguments())?], Reading::Report)
            }
            Suite::Calls(settings) => {
                settings.check()?;
                let processes = settings.processes().into_iter();
                let programs = processes.map(|arguments| own("calls", arguments)).collect::<Result<_, _>>()?;
                Self { rehearsals: settings.rehearsals(), ..workload(programs, Reading::Report) }
            }
            Suite::Startup => workload(vec![vec![startup_program()?]], Reading::Elapsed),
            Suite::Mpi(settings) => {
                let program = settings.program()?;
                let path = program.path().into();
                Self {
                    launcher: settings.launcher(),
                    one_core: false,
                    compiled: Some(program),
                    ..workload(vec![vec![path]], Reading::Lines)
                }
            }
            Suite::Openmp(settings) => {
                let program = settings.program()?;
                let path = program.path().into();
                Self { one_core: false, compiled: Some(program), ..workload(vec![vec![path]], Reading::Lines) }
            }
        })
    }

    /// Name of the suite.
    pub fn suite(&self) -> &'static str {
        self.suite
    }

    /// Words before any wrapper: the MPI launcher.
    pub fn launcher(&self) -> Vec<OsString> {
        self.launcher.clone()
    }

    /// The programs with their arguments, in the order in which a run takes them.
    pub fn programs(&self) -> &[Vec<OsString>] {
        &self.programs
    }

    /// Whether all sides use the same single core. An MPI launcher places its ranks itself, and threads are
    /// for several.
    pub fn runs_on_one_core(&self) -> bool {
        self.one_core
    }

    /// Runs every program on `side`: once, or, after a rehearsal, once for the record.
    pub fn run(&self, side: &Side) -> Result<Run, Failure> {
        let mut whole = Run::of(Vec::new());
        for (index, command) in side.commands.iter().enumerate() {
            if self.rehearsals.get(index).is_some_and(|rehearsed| *rehearsed) {
                self.run_program(side, command)?;
            }
            let part = self.run_program(side, command)?;
            whole.core = part.core;
            whole.measures.extend(part.measures);
            whole.not_measured.extend(part.not_measured);
        }
        Ok(whole)
    }

    fn run_program(&self, side: &Side, command: &[OsString]) -> Result<Run, Failure> {
        let finished = launch::run(&format!("side {}", side.name), command, side.pin, self.limit)
            .map_err(|failure| self.with_way_to_repeat(failure))?;
        match self.reading {
            Reading::Report => read_report(&side.name, &finished.stdout),
            Reading::Elapsed => {
                let nanoseconds = finished.elapsed.as_secs_f64() * 1e9;
                Ok(Run::of(vec![Measure::time("startup", vec![nanoseconds])]))
            }
            Reading::Lines => compiled::read_lines(&side.name, &finished.stdout).map(Run::of),
        }
    }

    /// A program that is compiled for the run is gone after it.
    fn with_way_to_repeat(&self, failure: Failure) -> Failure {
        match &self.compiled {
            Some(program) if program.is_temporary() => Failure::with_status(
                failure.status(),
                format!(
                    "{failure} (with hpc-benches/programs/{}.c compiled by you: this copy is removed)",
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

fn startup_program() -> Result<OsString, Failure> {
    if Path::new(TRUE).exists() {
        return Ok(TRUE.into());
    }
    let message = format!("there is no {TRUE} to start; install coreutils");
    Err(Failure::with_status(127, message))
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
    Ok(Run { core: report.core, measures: report.measures, not_measured: report.not_measured })
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
