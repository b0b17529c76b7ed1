//! Suite `memory`: how fast one core reaches memory, and what its pages cost: first touch, STREAM, random
//! access, a pointer chase over growing sets, and random access by page size.
//!
//! All of it is user code once the pages are there. A side that differs got other pages, or other memory.

mod chase;
mod pages;
mod random;
mod settings;
mod sizes;
mod stream;
mod touch;

use std::io;

use self::random::Effort;
pub use self::settings::{Part, Settings};
use self::sizes::{MIB, Machine};
use super::Session;
use crate::error::Failure;
use crate::machine::clock::Clock;
use crate::machine::host;
use crate::machine::mapping::{Mapping, PageKind};
use crate::report::{Measure, NotMeasured, RunReport};

const RANDOM_ACCESS: &str = "random-access";
const WHOLE_TABLE: Effort = Effort { per_word: 4, budget_seconds: 2.0 };

/// What the parts need.
struct Bench {
    clock: Clock,
    machine: Machine,
    pages: PageKind,
}

/// What the parts found.
#[derive(Default)]
struct Findings {
    measures: Vec<Measure>,
    not_measured: Vec<NotMeasured>,
    settings: Vec<(&'static str, f64)>,
}

/// Measures the core that this process runs on.
pub fn run(settings: &Settings) -> Result<RunReport, Failure> {
    settings.check()?;
    let session = Session::start("memory");
    let machine = Machine::of(host::current_core());
    let settings = settings.sized(machine);
    let bench = Bench { clock: session.clock, machine, pages: settings.pages };
    let mut findings = Findings::default();
    for part in settings.wanted() {
        take(part, &bench, &settings, &mut findings)?;
    }
    let bytes = |size: Option<usize>| size.map_or(0.0, |mib| (mib * MIB) as f64);
    let mut parameters = vec![
        ("array_bytes", bytes(settings.array_mib)),
        ("set_bytes", bytes(settings.set_mib)),
        ("touch_bytes", bytes(Some(settings.touch_mib))),
        ("last_level_cache_bytes", machine.cache.map_or(0.0, |bytes| bytes as f64)),
    ];
    parameters.extend(findings.settings);
    Ok(session.finish(&parameters, findings.measures, findings.not_measured))
}

fn take(part: Part, bench: &Bench, settings: &Settings, findings: &mut Findings) -> Result<(), Failure> {
    const NO_CACHE: &str = "the size of the last-level cache is unknown; give";
    match (part, settings.array_mib, settings.set_mib) {
        (Part::Stream, Some(mib), _) => stream::measure(bench, mib * MIB, findings)?,
        (Part::Stream, None, _) => findings.miss("stream", &format!("{NO_CACHE} --array-mib")),
        (Part::RandomAccess, _, Some(mib)) => random_access(bench, mib * MIB, findings)?,
        (Part::RandomAccess, _, None) => findings.miss(RANDOM_ACCESS, &format!("{NO_CACHE} --set-mib")),
        (Part::PageSizes, _, Some(mib)) => pages::measure(bench, mib * MIB, findings)?,
        (Part::PageSizes, _, None) => findings.miss("pages", &format!("{NO_CACHE} --set-mib")),
        (Part::Chase, _, _) => {
            let largest = settings.chase_mib.unwrap_or_else(|| bench.machine.chase_mib());
            chase::measure(bench, largest * MIB, findings);
        }
        (touch, _, _) => {
            let bytes = settings.touch_mib * MIB;
            touch.first_touch().into_iter().for_each(|kind| touch::measure(bench, bytes, kind, findings));
        }
    }
    Ok(())
}

fn random_access(bench: &Bench, bytes: usize, findings: &mut Findings) -> Result<(), Failure> {
    match bench.machine.require(bytes, bench.pages).and_then(|()| bench.map(bytes)) {
        Ok(mut memory) => {
            let samples = random::measure(&bench.clock, memory.words(), WHOLE_TABLE).map_err(Failure::new)?;
            findings.measures.push(Measure::time(RANDOM_ACCESS, samples));
            findings.large_pages("random_access_large_pages_percent", &memory, bytes);
        }
        Err(reason) => findings.miss(RANDOM_ACCESS, &reason),
    }
    Ok(())
}

impl Bench {
    /// Memory in the pages that the user wants for all parts that ask for none of their own.
    fn map(&self, bytes: usize) -> Result<Mapping, String> {
        Mapping::new(bytes, self.pages).map_err(|error| refusal(&error, self.pages, bytes / MIB))
    }
}

impl Findings {
    fn miss(&mut self, name: &str, reason: &str) {
        self.not_measured.push(NotMeasured { name: name.to_owned(), reason: reason.to_owned() });
    }

    fn miss_all(&mut self, names: &[&str], reason: &str) {
        names.iter().for_each(|name| self.miss(name, reason));
    }

    /// Notes how much of `memory` lies in large pages, where the kernel tells.
    fn large_pages(&mut self, setting: &'static str, memory: &Mapping, bytes: usize) {
        let percent = |large: usize| large as f64 / bytes as f64 * 100.0;
        self.settings.extend(memory.large_bytes().map(|large| (setting, percent(large))));
    }
}

/// Why there is no memory of `kind`, and what would change that.
fn refusal(error: &io::Error, kind: PageKind, mib: usize) -> String {
    match (kind.pool_page(), error.raw_os_error()) {
        (Some(page), Some(libc::ENOMEM)) => format!(
            "too few pages of {} MiB are free here for {mib} MiB (mmap: {error}); reserve more in /sys/kernel/mm/hugepages",
            page / MIB
        ),
        (Some(page), Some(libc::EINVAL)) => format!("this kernel has no pages of {} MiB", page / MIB),
        _ => format!("cannot map {mib} MiB: {error}"),
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
