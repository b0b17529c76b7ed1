//! Suite `calls`: what a program pays for what it asks the kernel, from the cheapest call to the
//! first touch of a gigabyte, and one thing that must cost the same everywhere: computing.
//!
//! One entry of [`ALL`] per measure. A measure that the environment does not offer is reported as
//! not measured, with the reason; it never counts as zero.

mod compute;
mod files;
mod local;
mod memory;
mod settings;
mod threads;
mod timing;
mod wake;

use std::env;
use std::io;
use std::path::PathBuf;

use self::settings::ASLEEP_CALLS;
pub use self::settings::Settings;
use super::Session;
use crate::error::Failure;
use crate::machine::clock::Clock;
use crate::report::{Measure, NotMeasured, RunReport};

/// What a measure needs.
struct Bench {
    clock: Clock,
    dir: PathBuf,
    /// Calls of the measures that let the proxy fall asleep first.
    asleep_calls: u32,
}

/// Samples in nanoseconds.
type Samples = io::Result<Vec<f64>>;

/// A measure of the suite.
struct Entry {
    name: &'static str,
    take: fn(&Bench) -> Samples,
    place: Place,
}

/// How a comparison takes a measure.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In one process with others, on one core.
    Shared,
    /// In a process of its own: what other measures leave behind (memory that the process already had)
    /// would change what it says. It is run twice in a row and the second run counts: on a virtual machine
    /// the first may pay the host for memory that whoever ran before did not use.
    Alone,
    /// On several cores: [`Settings::across`].
    Across,
}

/// Every measure of the suite, in the order of the table.
const ALL: &[Entry] = &[
    shared("getpid", local::getpid),
    shared("getppid", local::getppid),
    shared("sched_yield", local::sched_yield),
    shared("clock_gettime", local::clock_gettime),
    shared("futex-wake", local::futex_wake),
    shared("forwarded-nop", local::forwarded_nop),
    shared("forwarded-nop-asleep", local::forwarded_nop_asleep),
    shared("ring-roundtrip", local::ring_roundtrip),
    // Before the measures that free blocks of this size.
    shared("malloc-1m", memory::malloc_1m),
    shared("write-1", files::write_1),
    shared("write-1-asleep", files::write_1_asleep),
    shared("pread-4k", files::pread_4k),
    shared("pwrite-4k", files::pwrite_4k),
    shared("read-1m", files::read_1m),
    shared("write-1m", files::write_1m),
    shared("thread-create", threads::thread_create),
    shared("futex-handover", threads::futex_handover),
    shared("pipe-handover", threads::pipe_handover),
    shared("wake-same-core", wake::same_core),
    Entry { name: "wake-other-core", take: wake::other_core, place: Place::Across },
    shared("map-1m", memory::map_1m),
    shared("unmap-1m", memory::unmap_1m),
    shared("mmap-1m", memory::mmap_1m),
    shared("first-write-4k", memory::first_write_4k),
    shared("compute-1s", compute::compute_1s),
    alone("first-touch-1g", memory::first_touch_small),
    alone("first-touch-1g-huge", memory::first_touch_large),
];

const fn shared(name: &'static str, take: fn(&Bench) -> Samples) -> Entry {
    Entry { name, take, place: Place::Shared }
}

const fn alone(name: &'static str, take: fn(&Bench) -> Samples) -> Entry {
    Entry { name, take, place: Place::Alone }
}

/// Measures the environment that this process runs in.
pub fn run(settings: &Settings) -> Result<RunReport, Failure> {
    settings.check()?;
    let session = Session::start("calls");
    let bench = Bench {
        clock: session.clock,
        dir: settings.dir.clone().unwrap_or_else(env::temp_dir),
        asleep_calls: settings.asleep_calls.unwrap_or(ASLEEP_CALLS),
    };
    let mut measures = Vec::new();
    let mut not_measured = Vec::new();
    for entry in ALL.iter().filter(|entry| settings.wants(entry.name)) {
        match (entry.take)(&bench) {
            Ok(samples) => measures.push(with_cycles(Measure::time(entry.name, samples), &bench.clock)),
            Err(error) => not_measured.push(NotMeasured { name: entry.name.to_owned(), reason: reason(&error) }),
        }
    }
    let empty_section = bench.clock.empty_section_nanoseconds();
    Ok(session.finish(&[("empty_section_ns", empty_section)], measures, not_measured))
}

fn with_cycles(measure: Measure, clock: &Clock) -> Measure {
    let cycles_per_ns = clock.megahertz() / 1000.0;
    Measure { cycles: measure.summary.map(|summary| summary.scaled(cycles_per_ns)), ..measure }
}

/// Names of all measures.
#[cfg(test)]
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|entry| entry.name)
}

impl Bench {
    #[cfg(test)]
    fn for_tests() -> Self {
        Self { clock: Clock::calibrate(), dir: env::temp_dir(), asleep_calls: 2 }
    }
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
    fn cycles_are_nanoseconds_by_the_counters_frequency() {
        let bench = Bench::for_tests();
        let measure = with_cycles(Measure::time("x", vec![100.0]), &bench.clock);
        let cycles = measure.cycles.unwrap().median;
        assert!((cycles - bench.clock.megahertz() / 10.0).abs() < 1e-6, "{cycles}");
        assert_eq!(with_cycles(Measure::time("x", Vec::new()), &bench.clock).cycles, None);
    }

    #[test]
    fn a_missing_call_is_named_as_such() {
        let error = io::Error::from_raw_os_error(libc::ENOSYS);
        assert_eq!(reason(&error), "this kernel has no such call");
    }
}
