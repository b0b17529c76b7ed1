//! Suite `startup`: what it takes to start a program, to end it, and to have it running.
//!
//! Most of it is told by small programs in C, which are compiled on demand: they print the time-stamp
//! counter where they are ([`probe`]). The one that starts others notes it just before exec, so that no
//! fork is in the time. What this node lacks a compiler or a launcher for is not measured, with the reason.

mod cores;
mod memory;
mod probe;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use self::probe::{Init, Passage, Probes};
use super::launch::{self, Finished};
use super::mpi::Launcher;
use super::result::Run;
use super::side::Side;
use crate::error::Failure;
use crate::machine::clock::Clock;
use crate::machine::tsc;
use crate::report::{Measure, NotMeasured};

const TRUE: &str = "/bin/true";

/// Parameters of the suite.
#[derive(Args, Clone, Debug)]
#[group(id = "startup-settings")]
pub struct Settings {
    /// C compiler for the small programs that are started
    #[arg(long, value_name = "COMMAND", default_value = "cc")]
    pub startup_cc: PathBuf,
}

/// The suite, ready to run.
pub struct Startup {
    parts: Vec<Part>,
    launcher: Launcher,
    probes: Probes,
    clock: Clock,
    /// What no run can measure.
    not_measured: Vec<NotMeasured>,
}

/// What a run does one after the other, each with a command of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// `/bin/true` from start to end.
    True,
    /// From exec to main, and from exit to the end, of a dynamically linked program.
    Dynamic,
    /// The same of a statically linked one.
    Static,
    /// What runs while the program does.
    Memory,
    /// From exit until Linux has the core again.
    CoresBack,
    /// From exec to the end of MPI_Init, of every rank.
    MpiInit,
}

impl Part {
    const ALL: [Self; 6] = [Self::True, Self::Dynamic, Self::Static, Self::Memory, Self::CoresBack, Self::MpiInit];

    fn measures(self) -> &'static [&'static str] {
        match self {
            Self::True => &["startup"],
            Self::Dynamic => &["exec-to-main", "teardown"],
            Self::Static => &["exec-to-main-static", "teardown-static"],
            Self::Memory => &["memory", "memory-cell"],
            Self::CoresBack => &["cores-back"],
            Self::MpiInit => &["exec-to-mpi-init", "launch-to-mpi-init"],
        }
    }
}

impl Startup {
    /// Compiles what can be compiled.
    pub fn prepare(settings: &Settings, launcher: &Launcher) -> Result<Self, Failure> {
        if !Path::new(TRUE).exists() {
            return Err(Failure::with_status(127, format!("there is no {TRUE} to start; install coreutils")));
        }
        let probes = Probes::compile(&settings.startup_cc, launcher.compiler());
        let mut startup = Self {
            parts: Vec::new(),
            launcher: launcher.clone(),
            probes,
            clock: Clock::calibrate(),
            not_measured: Vec::new(),
        };
        for part in Part::ALL {
            match startup.program(part) {
                Ok(_) => startup.parts.push(part),
                Err(reason) => startup.not_measured.extend(not_measured(part.measures(), reason)),
            }
        }
        Ok(startup)
    }

    /// The command lines of a run: `wrapper` goes before a program that has a core to itself, `rank_wrapper`
    /// before a rank.
    pub fn commands(&self, wrapper: &[OsString], rank_wrapper: &[OsString]) -> Vec<Vec<OsString>> {
        let command = |part: &Part| {
            let program = self.program(*part).ok()?;
            let starter = self.probes.starter().unwrap_or_default();
            Some(match part {
                Part::True | Part::Memory => [wrapper, &program].concat(),
                Part::Dynamic | Part::Static | Part::CoresBack => [&starter, wrapper, &program].concat(),
                Part::MpiInit => [&self.launcher.words(), &starter, rank_wrapper, &program].concat(),
            })
        };
        self.parts.iter().filter_map(command).collect()
    }

    fn program(&self, part: Part) -> Result<Vec<OsString>, &str> {
        match part {
            Part::True => Ok(vec![TRUE.into()]),
            Part::Dynamic | Part::CoresBack => self.probes.dynamic(),
            Part::Static => self.probes.starter().and(self.probes.fixed()),
            Part::Memory => Ok([self.probes.dynamic()?, vec!["wait".into()]].concat()),
            Part::MpiInit => self.probes.starter().and(self.probes.mpi()),
        }
    }

    /// Runs every part on `side`.
    pub fn run(&self, side: &Side, limit: Duration) -> Result<Run, Failure> {
        let mut run = Run::of(Vec::new());
        run.not_measured.clone_from(&self.not_measured);
        for (part, command) in self.parts.iter().zip(&side.commands) {
            let found = self.run_part(*part, side, command, limit)?;
            let names: Vec<&str> = found.measures.iter().map(|measure| measure.name.as_str()).collect();
            let lacking = part.measures().iter().copied().filter(|name| !names.contains(name));
            run.not_measured.extend(lacking.flat_map(|name| not_measured(&[name], &found.reason)));
            run.measures.extend(found.measures);
        }
        Ok(run)
    }

    fn run_part(&self, part: Part, side: &Side, command: &[OsString], limit: Duration) -> Result<Found, Failure> {
        let label = format!("side {}", side.name);
        match part {
            Part::True => {
                let finished = launch::run(&label, command, side.pin, limit)?;
                Ok(Found::all(vec![Measure::time("startup", vec![finished.elapsed.as_secs_f64() * 1e9])]))
            }
            Part::Dynamic | Part::Static => {
                let finished = launch::run(&label, command, side.pin, limit)?;
                Ok(self.passages(part.measures(), &Passage::read(&side.name, &finished.stdout)?, &finished))
            }
            Part::Memory => memory::measure(&label, side, command, limit),
            Part::CoresBack => cores::measure(&self.clock, &label, side, command, limit),
            Part::MpiInit => self.mpi_init(&label, side, command, limit),
        }
    }

    fn passages(&self, names: &[&str], passage: &Passage, finished: &Finished) -> Found {
        let spans = [(passage.start, passage.main), (passage.exit, finished.end)];
        let measures = names.iter().zip(spans).map(|(name, (from, to))| {
            let nanoseconds = probe::nanoseconds(&self.clock, from, to)?;
            Some(Measure::time(name, vec![nanoseconds]))
        });
        Found { measures: measures.flatten().collect(), reason: probe::COUNTERS_DIFFER.to_owned() }
    }

    fn mpi_init(&self, label: &str, side: &Side, command: &[OsString], limit: Duration) -> Result<Found, Failure> {
        let before = tsc::end();
        let finished = match launch::run(label, command, None, limit) {
            // The launcher itself is not there.
            Err(failure) if failure.status() == 127 => return Ok(Found::none(failure.to_string())),
            finished => finished?,
        };
        let ranks = Init::read(&side.name, &finished.stdout, self.launcher.mpi_ranks)?;
        let of_rank = |rank: &Init| probe::nanoseconds(&self.clock, rank.start, rank.init);
        let last = ranks.iter().map(|rank| rank.init).max().unwrap_or(0);
        let ranks: Option<Vec<f64>> = ranks.iter().map(of_rank).collect();
        let launch = probe::nanoseconds(&self.clock, before, last);
        let measures = [
            ranks.map(|samples| Measure::time("exec-to-mpi-init", samples)),
            launch.map(|sample| Measure::time("launch-to-mpi-init", vec![sample])),
        ];
        Ok(Found { measures: measures.into_iter().flatten().collect(), reason: probe::COUNTERS_DIFFER.to_owned() })
    }
}

/// What a part found, and why it found no more.
struct Found {
    measures: Vec<Measure>,
    reason: String,
}

impl Found {
    fn all(measures: Vec<Measure>) -> Self {
        Self { measures, reason: String::new() }
    }

    fn none(reason: impl Into<String>) -> Self {
        Self { measures: Vec::new(), reason: reason.into() }
    }
}

fn not_measured(names: &[&str], reason: &str) -> Vec<NotMeasured> {
    names.iter().map(|name| NotMeasured { name: (*name).to_owned(), reason: reason.to_owned() }).collect()
}
