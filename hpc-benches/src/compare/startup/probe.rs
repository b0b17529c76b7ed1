//! The small programs that tell when they got where, and what they say.

use std::ffi::OsString;
use std::path::Path;

use super::super::compiled::{Program, Source};
use crate::error::Failure;
use crate::machine::clock::Clock;

/// Why there is no time between two readings of the counter.
pub const COUNTERS_DIFFER: &str =
    "the time-stamp counters of this machine's cores differ: an end came before its start";

const TEXT: &str = include_str!("../../../programs/startup_probe.c");

const DYNAMIC: Source =
    Source { name: "startup_probe", text: TEXT, options: &[], advice: "install a C compiler, or give --startup-cc" };

const STATIC: Source = Source {
    name: "startup_probe",
    text: TEXT,
    options: &["-static"],
    advice: "install a C compiler and a C library to link statically, or give --startup-cc",
};

const MPI: Source = Source {
    name: "startup_probe",
    text: TEXT,
    options: &["-DWITH_MPI"],
    advice: "install an MPI library with its compiler wrapper, or give --mpicc",
};

/// The programs, or why they are not there.
pub struct Probes {
    dynamic: Result<Program, String>,
    fixed: Result<Program, String>,
    mpi: Result<Program, String>,
}

impl Probes {
    /// Compiles them.
    pub fn compile(compiler: &Path, mpi_compiler: &Path) -> Self {
        let compile = |source: &Source, compiler: &Path| {
            Program::compile(source, compiler).map_err(|failure| failure.to_string())
        };
        Self {
            dynamic: compile(&DYNAMIC, compiler),
            fixed: compile(&STATIC, compiler),
            mpi: compile(&MPI, mpi_compiler),
        }
    }

    /// The dynamically linked one.
    pub fn dynamic(&self) -> Result<Vec<OsString>, &str> {
        words(&self.dynamic)
    }

    /// The statically linked one.
    pub fn fixed(&self) -> Result<Vec<OsString>, &str> {
        words(&self.fixed)
    }

    /// The MPI program.
    pub fn mpi(&self) -> Result<Vec<OsString>, &str> {
        words(&self.mpi)
    }

    /// What is put before a command so that the counter before its exec is known.
    pub fn starter(&self) -> Result<Vec<OsString>, &str> {
        Ok([self.dynamic()?, vec!["exec".into()]].concat())
    }
}

fn words(program: &Result<Program, String>) -> Result<Vec<OsString>, &str> {
    program.as_ref().map(|program| vec![program.path().into()]).map_err(String::as_str)
}

/// Readings of the counter, of a program from exec to its exit.
#[derive(Debug, PartialEq, Eq)]
pub struct Passage {
    pub start: u64,
    pub main: u64,
    pub exit: u64,
}

impl Passage {
    /// What the program printed.
    pub fn read(side: &str, stdout: &str) -> Result<Self, Failure> {
        let passage = |line: &str| {
            Some(Self { start: field(line, "start")?, main: field(line, "main")?, exit: field(line, "exit")? })
        };
        probe_lines(stdout).find_map(passage).ok_or_else(|| unreadable(side, stdout))
    }
}

/// Readings of the counter, of a rank from exec until MPI_Init is done.
#[derive(Debug, PartialEq, Eq)]
pub struct Init {
    pub start: u64,
    pub init: u64,
}

impl Init {
    /// What the ranks printed: a line each.
    pub fn read(side: &str, stdout: &str, ranks: u32) -> Result<Vec<Self>, Failure> {
        let init = |line: &str| {
            let together = field(line, "ranks")? == u64::from(ranks);
            together.then_some(Self { start: field(line, "start")?, init: field(line, "init")? })
        };
        let lines: Vec<Self> = probe_lines(stdout).filter_map(init).collect();
        if lines.len() == ranks as usize { Ok(lines) } else { Err(unreadable(side, stdout)) }
    }
}

/// The time between two readings; none when the second is not after the first.
pub fn nanoseconds(clock: &Clock, from: u64, to: u64) -> Option<f64> {
    (from > 0 && to > from).then(|| clock.nanoseconds(to - from))
}

fn probe_lines(stdout: &str) -> impl Iterator<Item = &str> {
    stdout.lines().filter_map(|line| line.strip_prefix("probe "))
}

fn field(line: &str, name: &str) -> Option<u64> {
    let value = |word: &str| word.split_once('=').filter(|(key, _)| *key == name)?.1.parse().ok();
    line.split_whitespace().find_map(value)
}

fn unreadable(side: &str, stdout: &str) -> Failure {
    let said = stdout.lines().next().unwrap_or("nothing");
    Failure::new(format!(
        "side {side} printed no times of its start but {said}; use a tacet that leaves standard output alone, and a launcher that belongs to --mpicc"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passage_is_three_readings() {
        let text = "something\nprobe start=100 main=250 exit=300\n";
        assert_eq!(Passage::read("native", text).unwrap(), Passage { start: 100, main: 250, exit: 300 });
        for text in ["", "probe start=100 main=250", "probe start=x main=250 exit=300"] {
            assert!(Passage::read("native", text).is_err(), "{text}");
        }
    }

    #[test]
    fn all_ranks_must_be_there_and_know_of_each_other() {
        let text = "probe start=1 main=2 init=9 ranks=2\nprobe start=3 main=4 init=8 ranks=2\n";
        let expected = [Init { start: 1, init: 9 }, Init { start: 3, init: 8 }];
        assert_eq!(Init::read("process", text, 2).unwrap(), expected);
        assert!(Init::read("process", text, 3).is_err());
        // A launcher of another library starts two worlds of one rank.
        assert!(Init::read("process", &text.replace("ranks=2", "ranks=1"), 2).is_err());
    }

    #[test]
    fn a_time_needs_a_start_and_a_later_end() {
        let clock = Clock::calibrate();
        assert_eq!(nanoseconds(&clock, 0, 100), None);
        assert_eq!(nanoseconds(&clock, 100, 100), None);
        assert_eq!(nanoseconds(&clock, 100, 200), Some(clock.nanoseconds(100)));
    }

    #[test]
    fn a_probe_tells_of_its_start() {
        let probes = Probes::compile(Path::new("cc"), Path::new("/nonexistent/mpicc"));
        assert!(probes.mpi().unwrap_err().contains("or give --mpicc"));
        let command = [probes.starter().unwrap(), probes.fixed().unwrap()].concat();
        let limit = std::time::Duration::from_secs(60);
        let finished = super::super::launch::run("a probe", &command, None, limit).unwrap();
        let passage = Passage::read("native", &finished.stdout).unwrap();
        assert!(passage.start > 0 && passage.start < passage.main && passage.main < passage.exit, "{passage:?}");
        assert!(passage.exit < finished.end);
    }
}
