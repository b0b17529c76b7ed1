//! The explanation: ranked disturbances, and what could not be read.

use serde::Serialize;

use super::disturbance::Disturbance;
use super::observation::{NotRead, Observation};
use super::{interrupts, occupants, slowdown};
use crate::machine::record::Environment;

/// Name and revision of the JSON layout of a [`Report`].
pub const WHY_SCHEMA: &str = "tacet-bench-why/1";

/// Above this, a core has no ticks for want of work, and so less to explain than it would have.
const IDLE_PERCENT: f64 = 50.0;

/// Everything that is said about a core.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`WHY_SCHEMA`].
    pub schema: String,
    /// The core that was watched.
    pub core: usize,
    /// The core it was watched from.
    pub watched_from: Option<usize>,
    /// For how long; none on an emulated machine.
    pub seconds: Option<f64>,
    /// The program that ran there most of the time, if one did.
    pub main: Option<Main>,
    /// Share of the time that the core was idle, in percent.
    pub idle_percent: Option<f64>,
    /// What came and went, the most frequent first; then what can't be counted, the longest first.
    pub disturbances: Vec<Disturbance>,
    /// What a reader must know before believing it.
    pub notes: Vec<String>,
    /// What could not be read.
    pub not_read: Vec<NotRead>,
    /// The machine, before and after.
    pub environment: Environment,
}

/// What the core is there for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Main {
    /// Its name.
    pub name: String,
    /// Number of its process.
    pub process: u32,
    /// Number of the thread.
    pub thread: u32,
    /// Its share of the time, in percent; none on an emulated machine.
    pub percent: Option<f64>,
}

impl Report {
    /// Explains what was seen.
    pub fn of(seen: &Observation, environment: Environment) -> Self {
        let mut counted = [interrupts::interrupts(seen), interrupts::softirqs(seen), occupants::threads(seen)].concat();
        let key = |disturbance: &Disturbance| (disturbance.count, disturbance.milliseconds.unwrap_or(0.0));
        counted.sort_by(|a, b| key(b).0.cmp(&key(a).0).then(key(b).1.total_cmp(&key(a).1)));
        counted.extend(slowdown::all(seen));
        let main = occupants::main_thread(seen).map(|ran| Main {
            name: ran.name.clone(),
            process: ran.process,
            thread: ran.id,
            percent: Some((ran.seconds / seen.seconds * 100.0).min(100.0)),
        });
        Self {
            schema: WHY_SCHEMA.to_owned(),
            core: seen.place.core,
            watched_from: seen.watched_from,
            seconds: Some(seen.seconds),
            main,
            idle_percent: seen.time.and_then(|time| time.idle_percent()),
            disturbances: counted,
            notes: notes(seen),
            not_read: seen.not_read.clone(),
            environment,
        }
        .counts_only_where_emulated()
    }

    /// The same without times where the machine is emulated: who came, and how often. What can't be counted (clock,
    /// siblings, hypervisor) is about time alone.
    fn counts_only_where_emulated(mut self) -> Self {
        if !self.environment.emulated {
            return self;
        }
        self.seconds = None;
        self.idle_percent = None;
        self.main = self.main.map(|main| Main { percent: None, ..main });
        self.disturbances.retain(|disturbance| disturbance.count.is_some());
        for disturbance in &mut self.disturbances {
            (disturbance.per_second, disturbance.milliseconds) = (None, None);
        }
        self.notes.clear();
        self
    }
}

fn notes(seen: &Observation) -> Vec<String> {
    let idle = seen.time.and_then(|time| time.idle_percent()).filter(|percent| *percent > IDLE_PERCENT);
    let idle = idle.map(|percent| {
        format!(
            "the core was idle {percent:.0} % of the time: an idle core has no tick, a computing one has; run your program there to see what disturbs it"
        )
    });
    let seen_times: u64 = seen.threads.iter().map(|ran| ran.times).sum();
    let unseen = seen.scheduler_calls.map(|calls| calls.saturating_sub(seen_times)).filter(|&unseen| unseen > 0);
    // A call that finds nothing better leaves the thread that runs; going idle is a call as well.
    let unseen = unseen.map(|unseen| {
        format!(
            "the scheduler was called {unseen} times more often than the threads above got the core: calls that went idle or changed nothing, and threads that lived shorter than 0.2 s"
        )
    });
    let at_most = seen.threads.iter().any(|ran| ran.is_at_most);
    let at_most = at_most.then(|| "at most: the thread also ran on other cores meanwhile".to_owned());
    let traced = seen.traced.is_some().then(|| {
        "lengths are from the kernel's trace, to a microsecond each; tracing itself made them a little longer, and those of softirqs contain the interrupts that came meanwhile".to_owned()
    });
    [idle, at_most, unseen, traced].into_iter().flatten().collect()
}
