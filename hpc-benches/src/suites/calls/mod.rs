//! Suite `calls`: what a program pays for what it asks the kernel, from the cheapest call to the
//! first touch of a gigabyte, and one thing that must cost the same everywhere: computing.
//!
//! One entry of [`ALL`] per measure. A measure that the environment does not offer is reported as
//! not measured, with the reason; it never counts as zero.

mod compute;
mod files;
mod local;
mod memory;
mod threads;
mod timing;

use std::env;
use std::io;
use std::path::PathBuf;

use clap::Args;

use super::Session;
use crate::error::Failure;
use crate::machine::clock::Clock;
use crate::report::{Measure, NotMeasured, RunReport};

/// Parameters of the suite; both sides of a comparison get the same.
#[derive(Args, Clone, Debug, Default)]
#[group(id = "calls-settings")]
pub struct Settings {
    /// Folder for the file that the file measures read and write [default: the temporary folder]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Take these measures alone (names as the table prints them)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub only: Vec<String>,
}

/// What a measure needs.
struct Bench {
    clock: Clock,
    dir: PathBuf,
}

/// Samples in nanoseconds.
type Samples = io::Result<Vec<f64>>;

/// A measure of the suite.
struct Entry {
    name: &'static str,
    take: fn(&Bench) -> Samples,
    /// Whether a comparison gives it a process of its own: what other measures leave behind
    /// (memory that the process already had) would change what it says. It is run twice in a
    /// row and the second run counts: on a virtual machine the first may pay the host for memory
    /// that whoever ran before did not use.
    alone: bool,
}

/// Every measure of the suite, in the order of the table.
const ALL: &[Entry] = &[
    shared("getppid", local::getppid),
    shared("sched_yield", local::sched_yield),
    shared("clock_gettime", local::clock_gettime),
    shared("forwarded-nop", local::forwarded_nop),
    shared("ring-roundtrip", local::ring_roundtrip),
    shared("write-1", files::write_1),
    shared("pread-4k", files::pread_4k),
    shared("pwrite-4k", files::pwrite_4k),
    shared("read-1m", files::read_1m),
    shared("write-1m", files::write_1m),
    shared("thread-create", threads::thread_create),
    shared("futex-handover", threads::futex_handover),
    shared("mmap-1m", memory::mmap_1m),
    shared("compute-1s", compute::compute_1s),
    alone("first-touch-1g", memory::first_touch_small),
    alone("first-touch-1g-huge", memory::first_touch_large),
];

const fn shared(name: &'static str, take: fn(&Bench) -> Samples) -> Entry {
    Entry { name, take, alone: false }
}

const fn alone(name: &'static str, take: fn(&Bench) -> Samples) -> Entry {
    Entry { name, take, alone: true }
}

impl Settings {
    /// The options of the processes that together measure what these settings ask for.
    pub fn processes(&self) -> Vec<Vec<String>> {
        let wanted = || ALL.iter().filter(|entry| self.wants(entry.name));
        let shared: Vec<&str> = wanted().filter(|entry| !entry.alone).map(|entry| entry.name).collect();
        let mut processes = Vec::new();
        if !shared.is_empty() {
            processes.push(self.process(&shared.join(",")));
        }
        processes.extend(wanted().filter(|entry| entry.alone).map(|entry| self.process(entry.name)));
        processes
    }

    /// For each of [`Settings::processes`]: whether a run of it that does not count goes before.
    pub fn rehearsals(&self) -> Vec<bool> {
        let wanted = || ALL.iter().filter(|entry| self.wants(entry.name));
        let shared = wanted().any(|entry| !entry.alone).then_some(false);
        shared.into_iter().chain(wanted().filter(|entry| entry.alone).map(|_| true)).collect()
    }

    fn process(&self, names: &str) -> Vec<String> {
        let folder = self.dir.iter().map(|dir| format!("--dir={}", dir.display()));
        folder.chain([format!("--only={names}")]).collect()
    }

    /// Refuses names that no measure has.
    pub fn check(&self) -> Result<(), Failure> {
        let unknown = |name: &&String| !ALL.iter().any(|entry| entry.name == *name);
        let Some(name) = self.only.iter().find(unknown) else {
            return Ok(());
        };
        let known: Vec<&str> = ALL.iter().map(|entry| entry.name).collect();
        let message = format!("no measure is named {name}; choose from {}", known.join(", "));
        Err(Failure::with_status(2, message))
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| wanted == name)
    }
}

/// Measures the environment that this process runs in.
pub fn run(settings: &Settings) -> Result<RunReport, Failure> {
    settings.check()?;
    let session = Session::start("calls");
    let bench = Bench { clock: session.clock, dir: settings.dir.clone().unwrap_or_else(env::temp_dir) };
    let mut measures = Vec::new();
    let mut not_measured = Vec::new();
    for entry in ALL.iter().filter(|entry| settings.wants(entry.name)) {
        match (entry.take)(&bench) {
            Ok(samples) => measures.push(Measure::time(entry.name, samples)),
            Err(error) => not_measured.push(NotMeasured { name: entry.name.to_owned(), reason: reason(&error) }),
        }
    }
    let empty_section = bench.clock.empty_section_nanoseconds();
    Ok(session.finish(&[("empty_section_ns", empty_section)], measures, not_measured))
}

fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => "this kernel has no such call".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = ALL.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn first_touches_get_processes_of_their_own() {
        let only = ["write-1", "first-touch-1g-huge", "getppid"].map(str::to_owned).to_vec();
        let settings = Settings { dir: Some("/d".into()), only };
        let expected = [["--dir=/d", "--only=getppid,write-1"], ["--dir=/d", "--only=first-touch-1g-huge"]];
        assert_eq!(settings.processes(), expected);
        assert_eq!(settings.rehearsals(), [false, true]);
        assert_eq!(Settings::default().processes().len(), 3);
        assert_eq!(Settings::default().rehearsals(), [false, true, true]);
    }

    #[test]
    fn an_unknown_name_is_refused_as_usage() {
        let settings = Settings { only: vec!["getppid".to_owned(), "getpip".to_owned()], ..Settings::default() };
        let failure = settings.check().unwrap_err();
        assert_eq!(failure.status(), 2);
        assert!(failure.to_string().contains("getpip"));
    }

    #[test]
    fn a_missing_call_is_named_as_such() {
        let error = io::Error::from_raw_os_error(libc::ENOSYS);
        assert_eq!(reason(&error), "this kernel has no such call");
    }
}
