//! What is read of Linux before and after, and what lies between.

use std::collections::BTreeMap;

use serde::Serialize;

use super::counters::{self, CpuTime, Row};
use super::threads::{self, Ran, Sample};
use super::trace::Traced;
use crate::machine::cpu_set::CpuSet;
use crate::tuning::system::{System, reason};
use crate::tuning::work::siblings;
use crate::tuning::{boot, irqs};

const SHORT_LIVED: &str = "switches by threads too short-lived to be seen";

/// Something that Linux did not tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotRead {
    /// What is not known for it.
    pub what: String,
    /// Why.
    pub why: String,
}

/// One reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    interrupts: Option<Vec<Row>>,
    softirqs: Option<Vec<Row>>,
    times: BTreeMap<usize, CpuTime>,
    scheduler_calls: Option<u64>,
    megahertz: Option<f64>,
    not_read: Vec<NotRead>,
}

/// The core and what is known of it beforehand.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The core that is watched.
    pub core: usize,
    /// The others of the same physical core.
    pub siblings: CpuSet,
    /// Where to move what disturbs: cores of other physical cores.
    pub others: CpuSet,
    /// Cores without a tick while they run one thread (`nohz_full`).
    pub tickless: CpuSet,
    /// Cores whose RCU callbacks run elsewhere (`rcu_nocbs`).
    pub offloaded: CpuSet,
}

/// What happened on the core while it was watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Which core.
    pub place: Place,
    /// From which one; none when there was no other.
    pub watched_from: Option<usize>,
    /// For how long.
    pub seconds: f64,
    /// Interrupts of all kinds, with the name of the device where there is one.
    pub interrupts: Vec<Row>,
    /// Softirqs.
    pub softirqs: Vec<Row>,
    /// Threads.
    pub threads: Vec<Ran>,
    /// How often the scheduler was called.
    pub scheduler_calls: Option<u64>,
    /// Where the core's time went.
    pub time: Option<CpuTime>,
    /// Share of the time that each sibling was busy, in percent.
    pub sibling_load: Vec<(usize, f64)>,
    /// Frequency before and after, in MHz.
    pub megahertz: Option<[f64; 2]>,
    /// The highest that the core can have.
    pub most_megahertz: Option<f64>,
    /// The frequency governor.
    pub governor: Option<String>,
    /// Seconds in interrupts and softirqs, by label, where there was a trace.
    pub traced: Option<BTreeMap<String, f64>>,
    /// What could not be read.
    pub not_read: Vec<NotRead>,
}

impl Place {
    /// What Linux says of `core`.
    pub fn of(system: &dyn System, core: usize, online: &CpuSet) -> Self {
        let siblings = siblings(system, core);
        let list = |path: &str| system.read(path).ok().and_then(|text| CpuSet::from_list(&text)).unwrap_or_default();
        let tickless = list("/sys/devices/system/cpu/nohz_full");
        let command_line = system.read("/proc/cmdline").unwrap_or_default();
        let offloaded = boot::parameter(&command_line, "rcu_nocbs", online).unwrap_or_default().union(&tickless);
        let others = match online.minus(&siblings) {
            none if none.is_empty() => online.minus(&CpuSet::from_iter([core])),
            others => others,
        };
        Self { core, siblings: siblings.minus(&CpuSet::from_iter([core])), others, tickless, offloaded }
    }
}

impl Snapshot {
    /// Reads it all. The frequency is what some processors tell only by interrupting the core: `with_frequency`
    /// is for readings outside the time that is watched.
    pub fn take(system: &dyn System, place: &Place, with_frequency: bool) -> Self {
        let mut snapshot = Self::default();
        let core = place.core;
        let table = |text: &str| counters::rows(text, core);
        snapshot.interrupts = snapshot.read(system, "interrupts", "/proc/interrupts", table);
        snapshot.softirqs = snapshot.read(system, "softirqs", "/proc/softirqs", table);
        let times = |text: &str| {
            let of = |core| Some((core, counters::cpu_time(text, core)?));
            place.siblings.iter().chain([core]).map(of).collect::<Option<BTreeMap<_, _>>>()
        };
        snapshot.times = snapshot.read(system, "steal, load of siblings", "/proc/stat", times).unwrap_or_default();
        let calls = |text: &str| counters::scheduler_calls(text, core);
        snapshot.scheduler_calls = snapshot.read(system, SHORT_LIVED, "/proc/schedstat", calls);
        if with_frequency {
            let path = format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq");
            snapshot.megahertz = snapshot.read(system, "frequency", &path, megahertz);
        }
        snapshot
    }

    /// The same with the frequency of another reading, and what that could not read.
    pub fn with_frequency_of(self, other: &Self) -> Self {
        Self { megahertz: other.megahertz, not_read: other.not_read.clone(), ..self }
    }

    fn read<T>(
        &mut self,
        system: &dyn System,
        what: &str,
        path: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let why = match system.read(path) {
            Ok(text) => match parse(&text) {
                Some(value) => return Some(value),
                None => format!("{path} has nothing for this core"),
            },
            Err(error) => format!("{path}: {}", reason(&error)),
        };
        self.not_read.push(NotRead { what: what.to_owned(), why });
        None
    }
}

fn megahertz(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().map(|kilohertz| kilohertz / 1000.0)
}

impl Observation {
    /// What lies between two readings, with the samples of the threads taken meanwhile.
    pub fn between(
        system: &dyn System,
        place: Place,
        [before, after]: [&Snapshot; 2],
        threads: &[Vec<Sample>],
        seconds: f64,
    ) -> Self {
        let core = place.core;
        let rows = |before: &Option<Vec<Row>>, after: &Option<Vec<Row>>| match (before, after) {
            (Some(before), Some(after)) => counters::difference(before, after),
            _ => Vec::new(),
        };
        let time = |core| Some(after.times.get(&core)?.since(before.times.get(&core)?));
        let load = |sibling| Some((sibling, 100.0 - time(sibling)?.idle_percent()?));
        let interrupts = rows(&before.interrupts, &after.interrupts);
        let frequency_file =
            |name: &str| system.read(&format!("/sys/devices/system/cpu/cpu{core}/cpufreq/{name}")).ok();
        Self {
            watched_from: None,
            seconds,
            interrupts: interrupts.into_iter().map(|row| named(system, row)).collect(),
            softirqs: rows(&before.softirqs, &after.softirqs),
            threads: threads::ran_on(core, threads),
            scheduler_calls: before.scheduler_calls.zip(after.scheduler_calls).map(|(b, a)| a.saturating_sub(b)),
            time: time(core),
            sibling_load: place.siblings.iter().filter_map(load).collect(),
            megahertz: before.megahertz.zip(after.megahertz).map(|(before, after)| [before, after]),
            most_megahertz: frequency_file("cpuinfo_max_freq").as_deref().and_then(megahertz),
            governor: frequency_file("scaling_governor"),
            traced: None,
            not_read: before.not_read.clone(),
            place,
        }
    }

    /// With what a trace of the core says, which is exact.
    pub fn with_trace(mut self, traced: Result<Traced, String>, samples: &[Vec<Sample>]) -> Self {
        match traced {
            Ok(traced) => {
                self.threads = threads::corrected(self.threads, traced.threads, samples);
                self.traced = Some(traced.interrupts);
                // Everything that got the core is in the trace.
                self.scheduler_calls = None;
                self.not_read.retain(|missing| missing.what != SHORT_LIVED);
            }
            Err(why) => {
                let what = "lengths of interrupts, and threads to the last switch".to_owned();
                self.not_read.push(NotRead { what, why });
            }
        }
        self
    }

    /// Milliseconds in the interrupts or softirqs with this label.
    pub fn milliseconds_of(&self, label: &str) -> Option<f64> {
        Some(self.traced.as_ref()?.get(label)? * 1e3)
    }
}

/// A device's interrupt has the name of who asked for it, as `/proc/irq` shows it.
fn named(system: &dyn System, row: Row) -> Row {
    let name = row.label.parse().ok().and_then(|number| irqs::name_of(system, number));
    Row { description: name.unwrap_or(row.description), ..row }
}
