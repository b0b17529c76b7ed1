//! The counters of a core around the watched detours, as an [`Attribution`].

use std::cmp::Reverse;
use std::time::Instant;

use crate::attribution::{Attribution, Kind, Source};
use crate::machine::counters::{Counted, Counters, Task, Watched};
use crate::machine::host;
use crate::report::NotMeasured;

/// A core whose counters were read once.
pub struct Watch {
    core: Watched,
    start: Instant,
    before: Counters,
}

impl Watch {
    /// Reads the counters of `core`, which the calling thread runs on.
    pub fn start(core: usize) -> Self {
        let core = Watched::new(core);
        let before = core.read_before();
        Self { core, start: Instant::now(), before }
    }

    /// Reads them again and sets them against the detours seen meanwhile.
    pub fn finish(self) -> Changes {
        let seconds = self.start.elapsed().as_secs_f64();
        Changes { seconds, before: self.before, after: self.core.read_after() }
    }
}

/// Counters before and after.
pub struct Changes {
    seconds: f64,
    before: Counters,
    after: Counters,
}

impl Changes {
    /// What they say about `detours` that took `detour_ns` together.
    pub fn attribute(self, detours: u64, detour_ns: f64) -> Attribution {
        let mut found =
            Attribution { seconds: Some(self.seconds), detours, detour_ns: Some(detour_ns), ..Attribution::default() };
        let (before, after) = (self.before, self.after);
        note(&mut found, Kind::Interrupt, both(before.interrupts, after.interrupts), |(before, after)| {
            advanced(Kind::Interrupt, &before, after)
        });
        let task = both(before.tasks, after.tasks).and_then(|(before, after)| carrier(&before, &after));
        note(&mut found, Kind::PageFault, task.clone(), |(before, after)| {
            vec![events(Kind::PageFault, "of the program", after.faults.saturating_sub(before.faults))]
        });
        note(&mut found, Kind::Softirq, both(before.softirqs, after.softirqs), |(before, after)| {
            advanced(Kind::Softirq, &before, after)
        });
        note(&mut found, Kind::ContextSwitch, task, |(before, after)| {
            let waited = before.waited_ns.zip(after.waited_ns).map(|(a, b)| b.saturating_sub(a) as f64);
            let switches = events(Kind::ContextSwitch, "another task", after.switches.saturating_sub(before.switches));
            vec![Source { nanoseconds: waited, ..switches }]
        });
        note(&mut found, Kind::Steal, both(before.steal_ticks, after.steal_ticks), |(before, after)| {
            let nanoseconds = host::clock_tick_ns().map(|tick| after.saturating_sub(before) as f64 * tick);
            vec![Source { kind: Kind::Steal, name: "by the hypervisor".to_owned(), events: None, nanoseconds }]
        });
        found.explain()
    }
}

fn both<T>(before: Result<T, String>, after: Result<T, String>) -> Result<(T, T), String> {
    Ok((before?, after?))
}

/// The thread that carried the core: of those that were on it at both readings, the one that ran most. A cell's
/// process has others, which come and go.
fn carrier(before: &[Task], after: &[Task]) -> Result<(Task, Task), String> {
    let earlier = |task: &Task| before.iter().find(|earlier| earlier.id == task.id);
    after
        .iter()
        .filter_map(|task| Some((*earlier(task)?, *task)))
        .max_by_key(|(before, after)| after.ran.saturating_sub(before.ran))
        .ok_or_else(|| "the thread of Linux that carries the core was not on it all the time".to_owned())
}

/// Adds the sources that a pair of readings gives, or the reason why there is none.
fn note<T>(found: &mut Attribution, kind: Kind, readings: Result<T, String>, sources: impl FnOnce(T) -> Vec<Source>) {
    match readings {
        Ok(readings) => found.sources.extend(sources(readings)),
        Err(reason) => found.unread.push(NotMeasured { name: kind.name().to_owned(), reason }),
    }
}

/// What advanced, the most frequent first. A line that was not there before counts from zero: an interrupt gets
/// its line with its first handler.
fn advanced(kind: Kind, before: &[Counted], after: Vec<Counted>) -> Vec<Source> {
    let earlier = |name: &str| before.iter().find(|counted| counted.name == name).map_or(0, |counted| counted.count);
    let mut sources: Vec<Source> = after
        .into_iter()
        .map(|counted| {
            // Some counters have 32 bits and start again.
            let count = counted.count.saturating_sub(earlier(&counted.name));
            events(kind, &counted.name, count)
        })
        .filter(|source| source.events != Some(0))
        .collect();
    sources.sort_by_key(|source| Reverse(source.events));
    sources
}

fn events(kind: Kind, name: &str, events: u64) -> Source {
    Source { kind, name: name.to_owned(), events: Some(events), nanoseconds: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(list: &[(&str, u64)]) -> Vec<Counted> {
        list.iter().map(|&(name, count)| Counted { name: name.to_owned(), count }).collect()
    }

    fn readings(loc: u64, other: u64, task: Task, steal: u64) -> Counters {
        Counters {
            interrupts: Ok(counted(&[("9 acpi", 4), ("LOC", loc), ("RES", other)])),
            softirqs: Ok(counted(&[("TIMER", loc / 2)])),
            steal_ticks: Ok(steal),
            tasks: Ok(vec![task]),
        }
    }

    fn changes() -> Changes {
        let before = Task { id: 7, ran: 0, switches: 5, waited_ns: Some(1_000), faults: 100 };
        let after = Task { id: 7, ran: 9, switches: 8, waited_ns: Some(5_001_000), faults: 100 };
        Changes { seconds: 2.0, before: readings(1000, 10, before, 7), after: readings(1500, 910, after, 9) }
    }

    #[test]
    fn what_advanced_is_a_source() {
        let found = changes().attribute(1450, 9e6);
        let of = |kind| found.sources.iter().filter(|s| s.kind == kind).collect::<Vec<_>>();
        let names: Vec<_> = of(Kind::Interrupt).iter().map(|s| (s.name.as_str(), s.events.unwrap())).collect();
        assert_eq!(names, [("RES", 900), ("LOC", 500)]);
        assert_eq!(of(Kind::Softirq)[0].events, Some(250));
        assert_eq!((of(Kind::ContextSwitch)[0].events, of(Kind::ContextSwitch)[0].nanoseconds), (Some(3), Some(5e6)));
        let tick = host::clock_tick_ns().unwrap();
        assert_eq!(of(Kind::Steal)[0].nanoseconds, Some(2.0 * tick));
        assert_eq!(found.unexplained, Some(50));
        assert!(found.unread.is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_said_and_not_guessed() {
        let mut changes = changes();
        changes.after.interrupts = Err("no such core".to_owned());
        changes.before.tasks = Err("no such file".to_owned());
        let found = changes.attribute(1450, 9e6);
        assert_eq!(found.unexplained, None);
        let unread: Vec<_> = found.unread.iter().map(|missing| missing.name.as_str()).collect();
        assert_eq!(unread, ["interrupt", "page fault", "context switch"]);
    }

    #[test]
    fn the_carrier_is_the_one_that_ran_most_and_stayed() {
        let task = |id, ran| Task { id, ran, ..Task::default() };
        let (before, after) = ([task(1, 500), task(2, 0), task(3, 0)], [task(1, 510), task(2, 90), task(4, 800)]);
        assert_eq!(carrier(&before, &after), Ok((task(2, 0), task(2, 90))));
        assert!(carrier(&before, &[task(4, 800)]).is_err());
    }
}
