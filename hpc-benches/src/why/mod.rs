//! `tacet-bench why CORE`: what disturbed a core in the last seconds, and what would remove each.
//!
//! ```text
//! observation      what Linux says before and after, and what lies between
//!   counters       one core's column of its tables
//!   threads        who ran there, from samples
//!   trace          the kernel's own trace, where root may have it
//! interrupts, occupants, slowdown    the sources in words (pure)
//! report           ranked, with what could not be read
//! ```
//!
//! All but the trace is read from files that any user can read, from another core.

mod counters;
pub mod disturbance;
mod interrupts;
mod observation;
mod occupants;
pub mod report;
mod slowdown;
#[cfg(test)]
mod tests;
mod threads;
mod trace;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use self::observation::{NotRead, Observation, Place, Snapshot};
use self::report::Report;
use self::trace::Trace;
use crate::error::Failure;
use crate::machine::cpu_set::CpuSet;
use crate::machine::dying::{self, Turn};
use crate::machine::host;
use crate::machine::record::Recorder;
use crate::tuning::system::{Linux, System, reason};

/// How often it is looked who runs. Shorter lives are seen by the scheduler's count only.
const PERIOD: Duration = Duration::from_millis(200);

/// What to watch.
#[derive(Args, Clone, Debug)]
#[group(id = "why-settings")]
pub struct Settings {
    /// The core to explain
    #[arg(value_name = "CORE")]
    pub core: usize,
    /// Watch it for so long
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    pub seconds: f64,
}

/// Watches, and explains.
pub fn run(settings: &Settings) -> Result<Report, Failure> {
    if !(settings.seconds.is_finite() && settings.seconds > 0.0) {
        return Err(Failure::with_status(2, "--seconds must be a positive number; give for example --seconds 10"));
    }
    let system: Arc<dyn System> = Arc::new(Linux::at("/"));
    let online = online(&*system)?;
    if !online.contains(settings.core) {
        let core = settings.core;
        return Err(Failure::with_status(
            2,
            format!("core {core} is not among the cores that Linux has online; choose one of {online}"),
        ));
    }
    let recorder = Recorder::start(Some(settings.core));
    let place = Place::of(&*system, settings.core, &online);
    let watched_from = step_aside(settings.core);
    let trace = start_trace(&system, settings.core)?;
    let mut seen = watch(&*system, place, trace, Duration::from_secs_f64(settings.seconds));
    seen.watched_from = watched_from;
    if watched_from.is_none() {
        seen.not_read.push(NotRead {
            what: "the core without tacet-bench on it".to_owned(),
            why: "this process may run on no other core, so part of what is told it caused itself".to_owned(),
        });
    }
    Ok(Report::of(&seen, recorder.finish()))
}

fn online(system: &dyn System) -> Result<CpuSet, Failure> {
    const ONLINE: &str = "/sys/devices/system/cpu/online";
    let unreadable = |why: String| Failure::new(format!("cannot read {ONLINE}: {why}; mount /sys"));
    let text = system.read(ONLINE).map_err(|error| unreadable(reason(&error)))?;
    CpuSet::from_list(&text).ok_or_else(|| unreadable(format!("'{text}' is no list of processors")))
}

/// Moves this thread to a core that is not watched; none when it may run nowhere else.
fn step_aside(core: usize) -> Option<usize> {
    let allowed = host::allowed_cores().ok()?;
    let other = allowed.into_iter().find(|&other| other != core)?;
    host::pin_this_thread(other).ok()?;
    Some(other)
}

/// A trace, if this node lets us have one. A signal removes it, too, from the first moment on.
fn start_trace(system: &Arc<dyn System>, core: usize) -> Result<Result<Trace, String>, Failure> {
    let instance = match Trace::place(&**system) {
        Ok(instance) => instance,
        Err(why) => return Ok(Err(why)),
    };
    let (removing, place) = (Arc::clone(system), instance.clone());
    dying::before_dying(Turn::Last, move |go_on| {
        let _ = trace::remove(&*removing, &place);
        go_on();
    })?;
    Ok(Trace::start(Arc::clone(system), instance, core))
}

fn watch(system: &dyn System, place: Place, trace: Result<Trace, String>, length: Duration) -> Observation {
    let frequency_before = Snapshot::take(system, &place, true);
    let before = Snapshot::take(system, &place, false).with_frequency_of(&frequency_before);
    let start = Instant::now();
    let mut samples = vec![threads::sample(system)];
    while start.elapsed() < length {
        thread::sleep(PERIOD.min(length.saturating_sub(start.elapsed())));
        samples.push(threads::sample(system));
    }
    let after = Snapshot::take(system, &place, false);
    let seconds = start.elapsed().as_secs_f64();
    let traced = trace.and_then(Trace::finish);
    let after = after.with_frequency_of(&Snapshot::take(system, &place, true));
    Observation::between(system, place, [&before, &after], &samples, seconds).with_trace(traced, &samples)
}
