//! Load on the service cores: what other programs of a node do while a core is measured.
//!
//! Generators are native Linux processes of this program, one per kind and core, each on its core alone. They are
//! the same whatever is measured beside them. They end with the comparison on every way out: regularly they are
//! killed, and when the comparing process dies without a word, Linux kills them (`PR_SET_PDEATHSIG`).

mod fork;
pub mod generator;
mod io;
mod memory;
mod network;

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, process};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::machine::host;

/// How long a generator may take until it works: a slow disk is given time.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What a generator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Writes, syncs and reads a file
    Io,
    /// Sends over the loopback interface: a stream and round trips
    Network,
    /// Streams through memory
    Memory,
    /// Starts and ends processes
    Fork,
}

/// Parameters.
#[derive(Args, Clone, Debug)]
#[group(id = "load-settings")]
pub struct Settings {
    /// Repeat the suite noise with this load on the cores that are not measured
    #[arg(long, value_name = "KIND", value_enum, value_delimiter = ',')]
    pub load: Vec<Kind>,
    /// Folder for the file of the I/O load, on a disk
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    pub load_dir: PathBuf,
}

/// What load there was, for the report.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Its kinds.
    pub kinds: Vec<Kind>,
    /// The cores that it ran on.
    pub cores: Vec<usize>,
    /// Seconds of CPU time that it used per second while each side ran. Sides that differ had different load.
    pub cpu_seconds_per_second: Vec<(String, f64)>,
}

/// Generators at work; dropping it ends them.
pub struct Load {
    generators: Vec<Generator>,
}

struct Generator {
    kind: Kind,
    core: usize,
    child: Child,
}

impl Kind {
    /// Name, as `--load` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Io => "io",
            Self::Network => "network",
            Self::Memory => "memory",
            Self::Fork => "fork",
        }
    }
}

impl Settings {
    /// Refuses what can't be done on this node with `cores` left for load.
    pub fn check(&self, cores: &[usize]) -> Result<(), Failure> {
        if cores.is_empty() {
            return Err(Failure::with_status(
                2,
                "--load needs a core that is not measured and there is none; measure fewer cores (with --all-cores: \
                 start it under `taskset -c LIST`)",
            ));
        }
        if !self.load.contains(&Kind::Io) {
            return Ok(());
        }
        let folder = self.load_dir.display();
        match host::is_in_memory(&self.load_dir) {
            Ok(false) => Ok(()),
            Ok(true) => Err(Failure::new(format!(
                "{folder} lies in memory: writing there is no I/O; name a folder on a disk with --load-dir"
            ))),
            Err(error) => {
                Err(Failure::new(format!("cannot use {folder}: {error}; name another folder with --load-dir")))
            }
        }
    }
}

impl Load {
    /// Starts all generators on each of `cores`; returns when all of them work.
    pub fn start(settings: &Settings, cores: &[usize]) -> Result<Self, Failure> {
        let mut load = Self { generators: Vec::new() };
        for &kind in &settings.load {
            for &core in cores {
                load.generators.push(Generator::start(kind, core, settings)?);
            }
        }
        for generator in &mut load.generators {
            generator.await_work()?;
        }
        Ok(load)
    }

    /// Fails if a generator has ended: then there was less load than was asked for.
    pub fn check(&mut self) -> Result<(), Failure> {
        for generator in &mut self.generators {
            if !matches!(generator.child.try_wait(), Ok(None)) {
                return Err(generator.failure());
            }
        }
        Ok(())
    }

    /// CPU time that all generators have used so far, in seconds; none where Linux does not tell.
    pub fn cpu_seconds(&self) -> Option<f64> {
        let ticks: u64 = self.generators.iter().map(Generator::cpu_ticks).sum::<Option<u64>>()?;
        Some(ticks as f64 * host::clock_tick_ns()? / 1e9)
    }
}

impl Generator {
    fn start(kind: Kind, core: usize, settings: &Settings) -> Result<Self, Failure> {
        let program = env::current_exe()
            .map_err(|error| Failure::new(format!("cannot find this program's own file: {error}; mount /proc")))?;
        let child = Command::new(&program)
            .args(["load-generator", "--kind", kind.name(), "--core", &core.to_string()])
            .args(["--parent", &process::id().to_string(), "--dir"])
            .arg(&settings.load_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                Failure::cannot_start(&program.to_string_lossy(), &error, "check the limits of this shell")
            })?;
        Ok(Self { kind, core, child })
    }

    /// A generator closes its standard output with a word when it works, without one when it failed.
    fn await_work(&mut self) -> Result<(), Failure> {
        let Some(mut stdout) = self.child.stdout.take() else {
            return Err(self.failure());
        };
        let is_readable = host::wait_until_readable(&stdout, START_LIMIT).unwrap_or(false);
        let mut byte = [0];
        match is_readable && stdout.read(&mut byte).unwrap_or(0) == 1 {
            true => Ok(()),
            false => Err(self.failure()),
        }
    }

    /// What became of a generator that does not work: its own last line where it wrote one.
    fn failure(&mut self) -> Failure {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let mut errors = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut errors);
        }
        let (kind, core) = (self.kind.name(), self.core);
        match errors.lines().rfind(|line| !line.trim().is_empty()) {
            Some(line) => Failure::new(format!("the load {kind} on core {core} ended, saying \"{}\"", line.trim())),
            None => Failure::new(format!(
                "the load {kind} on core {core} does not run; leave {kind} out of --load, or see what ends processes \
                 here"
            )),
        }
    }

    /// utime, stime, cutime and cstime: fields 14 to 17 of `stat` (proc_pid_stat(5)).
    fn cpu_ticks(&self) -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        let (_, after_name) = stat.rsplit_once(')')?;
        // The first word is field 3.
        after_name.split_whitespace().skip(11).take(4).map(|word| word.parse::<u64>().ok()).sum()
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // One that has ended by itself is no error here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(load: &[Kind], dir: &str) -> Settings {
        Settings { load: load.to_vec(), load_dir: dir.into() }
    }

    #[test]
    fn without_a_core_to_spare_load_is_refused() {
        let failure = settings(&[Kind::Fork], "/").check(&[]).unwrap_err();
        assert_eq!(failure.status(), 2);
        assert!(settings(&[Kind::Fork], "/").check(&[0]).is_ok());
    }

    #[test]
    fn a_folder_in_memory_is_no_disk() {
        let failure = settings(&[Kind::Io], "/proc").check(&[0]).err();
        assert!(failure.is_none(), "proc is not where files are, but it is no tmpfs either: writing fails later");
        let failure = settings(&[Kind::Io], "/nonexistent/x").check(&[0]).unwrap_err();
        assert!(failure.to_string().contains("/nonexistent/x"));
        if host::is_in_memory("/dev/shm".as_ref()).unwrap_or(false) {
            let failure = settings(&[Kind::Io], "/dev/shm").check(&[0]).unwrap_err();
            assert!(failure.to_string().contains("--load-dir"));
        }
    }
}
