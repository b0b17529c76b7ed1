//! One core, or several at once: the four benchmarks in turn, with the counters around the detours.

use std::thread;

use super::gate::{Broken, Gate};
use super::selfish::{self, Selfish};
use super::settings::Settings;
use super::watch::Watch;
use super::{ftq, fwq, hourglass};
use crate::attribution::Attribution;
use crate::error::Failure;
use crate::machine::clock::Clock;
use crate::machine::host;
use crate::machine::tracefs::Tracing;
use crate::report::{Measure, NotMeasured};
use crate::stats::histogram::Histogram;

/// What was found on one core.
pub struct CoreRun {
    /// The core, by Linux's number.
    pub core: usize,
    /// Length of each fixed-work quantum, in ticks.
    quanta: Vec<u64>,
    /// Work done in each fixed-time quantum.
    counts: Vec<u32>,
    /// The detours.
    pub selfish: Selfish,
    /// All gaps of the counter.
    gaps: Histogram,
    /// Who had the core while detours were watched.
    pub attribution: Attribution,
}

/// Measures `cores` at the same time, each by a thread that may run nowhere else. The calling thread measures the
/// first one, so that a single core needs no further thread.
pub fn measure(cores: &[usize], clock: &Clock, settings: &Settings) -> Result<Vec<CoreRun>, Failure> {
    let Some((&first, others)) = cores.split_first() else {
        return Err(Failure::new("this process may run on no core; start it without an affinity mask"));
    };
    let gate = Gate::new(cores.len());
    let measure = |core| Party { gate: &gate, is_finished: false }.measure(core, clock, settings);
    let mut results = Vec::with_capacity(cores.len());
    thread::scope(|scope| {
        let start = |&core: &usize| {
            let name = format!("core {core}");
            thread::Builder::new().name(name).spawn_scoped(scope, move || measure(core)).inspect_err(|_| gate.give_up())
        };
        let threads: Vec<_> = others.iter().map(start).collect();
        results.push(measure(first));
        results.extend(threads.into_iter().map(|thread| match thread {
            Err(error) => Err(Failure::new(format!(
                "cannot start a thread for each core: {error}; raise the limit of processes (ulimit -u)"
            ))),
            Ok(thread) => thread.join().unwrap_or_else(|_| Err(broken())),
        }));
    });
    // The core that could not be measured says why; the others only that one gave up.
    let (found, failed): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let mut failures: Vec<Failure> = failed.into_iter().filter_map(Result::err).collect();
    match failures.iter().position(|failure| failure.to_string() != broken().to_string()) {
        Some(reason) => Err(failures.swap_remove(reason)),
        None if failures.is_empty() => Ok(found.into_iter().flatten().collect()),
        None => Err(broken()),
    }
}

fn broken() -> Failure {
    Failure::new("a thread that measures a core ended early; this is an error of tacet-bench, please report it")
}

impl From<Broken> for Failure {
    fn from(_: Broken) -> Self {
        broken()
    }
}

/// A thread that the others wait for. Whatever ends it early, they are told.
struct Party<'a> {
    gate: &'a Gate,
    is_finished: bool,
}

impl Drop for Party<'_> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.gate.give_up();
        }
    }
}

impl Party<'_> {
    fn measure(mut self, core: usize, clock: &Clock, settings: &Settings) -> Result<CoreRun, Failure> {
        host::pin_this_thread(core).map_err(|error| {
            Failure::new(format!("cannot run on core {core} alone: {error}; choose a core that this process may use"))
        })?;
        let seconds = settings.part_seconds();
        let gate = self.gate;

        let quanta = fwq::Quanta::prepare(clock, seconds, settings.work_bits);
        gate.pass()?;
        let quanta = quanta.run();

        let counts = ftq::Quanta::prepare(clock, seconds, settings.quantum_us);
        gate.pass()?;
        let counts = counts.run();

        let mut gaps = Histogram::new();
        gate.pass()?;
        hourglass::run(clock.ticks(seconds * 1e9), &mut gaps);

        // The counters are read between two passes: no core reads while another is being watched.
        let detours = selfish::prepare();
        let tracing = settings.events.then(|| Tracing::start(core, seconds));
        gate.pass()?;
        let watch = Watch::start(core);
        gate.pass()?;
        let selfish = selfish::run(clock, seconds, settings.threshold_ns, detours);
        gate.pass()?;
        let changes = watch.finish();
        gate.pass()?;
        self.is_finished = true;
        let mut attribution = changes.attribute(selfish.detours.len() as u64, selfish.lost(clock));
        if let Some(tracing) = tracing {
            match tracing.and_then(Tracing::stop) {
                Ok(events) => attribution.causes = selfish.causes(clock, &events),
                Err(reason) => attribution.unread.push(NotMeasured { name: "trace events".to_owned(), reason }),
            }
        }
        Ok(CoreRun { core, quanta, counts, selfish, gaps, attribution })
    }
}

/// All measures of one core, or of several taken together.
pub fn measures(clock: &Clock, settings: &Settings, runs: &[&CoreRun], most_traced: usize) -> Vec<Measure> {
    let quanta: Vec<&[u64]> = runs.iter().map(|run| run.quanta.as_slice()).collect();
    let counts: Vec<&[u32]> = runs.iter().map(|run| run.counts.as_slice()).collect();
    let selfish: Vec<&Selfish> = runs.iter().map(|run| &run.selfish).collect();
    let mut gaps = Histogram::new();
    runs.iter().for_each(|run| gaps.merge(&run.gaps));
    let mut measures = fwq::measures(clock, &quanta);
    measures.extend(ftq::measures(settings.quantum_us, &counts));
    measures.extend(selfish::measures(clock, &selfish, most_traced));
    measures.extend(hourglass::measures(clock, &gaps));
    measures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short() -> Settings {
        Settings {
            seconds: 0.04,
            threshold_ns: 500.0,
            work_bits: 10,
            quantum_us: 100.0,
            all_cores: true,
            events: false,
        }
    }

    /// Pins threads: not the one that runs the tests.
    fn measured(cores: Vec<usize>) -> Result<Vec<CoreRun>, Failure> {
        thread::spawn(move || measure(&cores, &Clock::calibrate(), &short())).join().unwrap()
    }

    #[test]
    fn all_cores_are_measured_each_by_its_own_thread() {
        let cores = host::allowed_cores().unwrap();
        let runs = measured(cores.clone()).unwrap();
        assert_eq!(runs.iter().map(|run| run.core).collect::<Vec<_>>(), cores);
        for run in &runs {
            assert!(run.gaps.total() > 0 && !run.quanta.is_empty() && run.counts.len() == 100);
            assert!(run.attribution.seconds >= Some(0.01));
        }
        let runs: Vec<&CoreRun> = runs.iter().collect();
        let clock = Clock::calibrate();
        let names: Vec<String> = measures(&clock, &short(), &runs, 9).into_iter().map(|measure| measure.name).collect();
        let expected =
            ["fwq", "fwq-loss", "ftq", "ftq-loss", "selfish-detour", "selfish-loss", "hourglass", "hourglass-max"];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_core_that_is_none_ends_the_others_and_is_named() {
        let core = host::allowed_cores().unwrap()[0];
        for cores in [vec![core, 1_000_000], vec![1_000_000, core]] {
            let failure = measured(cores).err().unwrap();
            assert!(failure.to_string().contains("core 1000000"), "{failure}");
        }
        assert!(measured(Vec::new()).is_err());
    }
}
