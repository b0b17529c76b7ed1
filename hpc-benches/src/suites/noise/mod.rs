//! Suite `noise`: what a program that makes no call at all still loses to others.
//!
//! Four benchmarks share the time: the fixed-work quantum ([`fwq`]), the fixed-time quantum ([`ftq`]), the
//! [`hourglass`] and the selfish detour ([`selfish`]). None makes a call while it measures, and all memory that
//! they write was written before. One core is measured, or all at once ([`core`]). Around the detours the
//! counters of the core are read ([`watch`]).

mod core;
pub mod ftq;
pub mod fwq;
mod gate;
pub mod hourglass;
pub mod selfish;
mod settings;
pub mod trace;
mod watch;
mod work;

pub use self::settings::Settings;

use self::core::CoreRun;
use self::trace::DetourTrace;
use super::Session;
use crate::attribution::Attribution;
use crate::error::Failure;
use crate::machine::clock::Clock;
use crate::machine::cpu_set::CpuSet;
use crate::machine::host;
use crate::report::{CoreReport, RunReport};

/// A core has at least this many detours in the report of several.
const FEWEST_REPORTED: usize = 256;

/// What a run found.
pub struct Findings {
    /// The report.
    pub report: RunReport,
    /// All detours, core by core.
    pub traces: Vec<DetourTrace>,
}

/// The cores that a run with `settings` measures: all that this thread may use, or `core`, or the one that it is
/// on.
pub fn cores(settings: &Settings, core: Option<usize>) -> Result<Vec<usize>, Failure> {
    if settings.all_cores {
        return host::allowed_cores().map_err(|error| {
            Failure::new(format!("cannot read this process's affinity mask: {error}; start it outside any sandbox"))
        });
    }
    if let Some(core) = core {
        check_core(core)?;
    }
    core.or_else(host::current_core).map(|core| vec![core]).ok_or_else(|| {
        Failure::new("this kernel does not tell which core a program is on; name the core to measure with --core")
    })
}

/// Where this process may not run at all is told before the measurement, with where it may.
fn check_core(core: usize) -> Result<(), Failure> {
    let allowed = host::allowed_cores().unwrap_or_default();
    if allowed.is_empty() || allowed.contains(&core) {
        return Ok(());
    }
    let allowed: CpuSet = allowed.into_iter().collect();
    let message = format!("core {core} is not among the cores this process may use; choose one of {allowed}");
    Err(Failure::with_status(2, message))
}

/// Measures `cores`; `side` is what the traces are called.
pub fn run(settings: &Settings, cores: &[usize], side: &str) -> Result<Findings, Failure> {
    settings.check()?;
    let session = Session::start("noise");
    let clock = session.clock;
    let runs = core::measure(cores, &clock, settings)?;

    let together: Vec<&CoreRun> = runs.iter().collect();
    let most_traced = (selfish::MOST_REPORTED / runs.len().max(1)).max(FEWEST_REPORTED);
    let measures = core::measures(&clock, settings, &together, most_traced);
    let mut report = session.finish(&parameters(settings, &runs, most_traced, &clock), measures, Vec::new());
    report.attribution = Attribution::together(runs.iter().map(|run| &run.attribution));
    if settings.all_cores {
        let of_core = |run: &CoreRun| CoreReport {
            core: run.core,
            measures: core::measures(&clock, settings, &[run], most_traced),
            attribution: run.attribution.clone(),
        };
        report.cores = runs.iter().map(of_core).collect();
    }
    let trace = |run: &CoreRun| DetourTrace::of(&clock, side, run.core, settings.threshold_ns, &run.selfish);
    // What was added since it was finished has times as well.
    let report = report.counts_only_where_emulated();
    Ok(Findings { report, traces: runs.iter().map(trace).collect() })
}

fn parameters(settings: &Settings, runs: &[CoreRun], most_traced: usize, clock: &Clock) -> Vec<(&'static str, f64)> {
    let shortest =
        |of: fn(&CoreRun, &Clock) -> f64| runs.iter().map(|run| of(run, clock)).reduce(f64::min).unwrap_or(0.0);
    vec![
        ("seconds", settings.seconds),
        ("threshold_ns", settings.threshold_ns),
        ("work_bits", f64::from(settings.work_bits)),
        ("quantum_us", settings.quantum_us),
        ("cores", runs.len() as f64),
        ("most_traced", most_traced as f64),
        ("selfish_loop_ns", shortest(|run, clock| run.selfish.loop_nanoseconds(clock))),
        ("selfish_seconds", shortest(|run, clock| run.selfish.watched(clock) / 1e9)),
    ]
}
