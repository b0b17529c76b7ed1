//! Detours laid beside a trace of the kernel that has the same clock: what lies within a detour is its cause.

use super::detour::Detour;

/// One event of the kernel on the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, in ticks of the counter.
    pub at: u64,
    /// What happened.
    pub what: What,
}

/// What the kernel did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It was entered: by which interrupt or exception.
    Entry(String),
    /// It did work that it had put off: which.
    Softirq(String),
    /// It gave the core to another task: to which.
    Switch(String),
}

/// Detours with the same cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Its name; none for detours in which the kernel did nothing.
    pub name: Option<String>,
    /// How many they are.
    pub detours: u64,
    /// How long they are together, in ticks.
    pub ticks: u64,
}

/// Sums up the causes of `detours`, the one that took most time first. Both lists are in the order of time;
/// `begun` is the reading of the counter that the detours' starts count from.
pub fn of_detours(detours: &[Detour], begun: u64, events: &[Event]) -> Vec<Cause> {
    let mut causes: Vec<Cause> = Vec::new();
    let mut rest = events;
    for detour in detours {
        let (start, end) = (begun + detour.start, begun + detour.start + detour.length);
        rest = &rest[rest.partition_point(|event| event.at < start)..];
        let within = &rest[..rest.partition_point(|event| event.at <= end)];
        let name = name_of(within);
        match causes.iter_mut().find(|cause| cause.name == name) {
            None => causes.push(Cause { name, detours: 1, ticks: detour.length }),
            Some(cause) => {
                cause.detours += 1;
                cause.ticks += detour.length;
            }
        }
    }
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.ticks));
    causes
}

/// A detour in which another task had the core is that task's, whatever else happened. Otherwise it is that of the
/// interrupt that began it, with the softirqs that followed.
fn name_of(events: &[Event]) -> Option<String> {
    let task = events.iter().find_map(|event| match &event.what {
        What::Switch(task) => Some(format!("task {task}")),
        _ => None,
    });
    let entry = events.iter().find_map(|event| match &event.what {
        What::Entry(name) => Some(name.clone()),
        _ => None,
    });
    let mut softirqs: Vec<&str> = Vec::new();
    for event in events {
        if let What::Softirq(name) = &event.what
            && !softirqs.contains(&name.as_str())
        {
            softirqs.push(name);
        }
    }
    softirqs.sort_unstable();
    let softirqs = (!softirqs.is_empty()).then(|| format!("softirq {}", softirqs.join(" ")));
    task.or_else(|| match (entry, softirqs) {
        (Some(entry), Some(softirqs)) => Some(format!("{entry}, {softirqs}")),
        (entry, softirqs) => entry.or(softirqs),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: u64, what: fn(String) -> What, name: &str) -> Event {
        Event { at, what: what(name.to_owned()) }
    }

    fn cause(name: Option<&str>, detours: u64, ticks: u64) -> Cause {
        Cause { name: name.map(str::to_owned), detours, ticks }
    }

    #[test]
    fn what_lies_within_a_detour_is_its_cause() {
        let detours: Vec<Detour> = [(100, 50), (300, 20), (400, 1000), (2000, 30), (3000, 10)]
            .map(|(start, length)| Detour { start, length })
            .to_vec();
        let events = [
            event(10_050, What::Entry, "before the loop"),
            event(10_110, What::Entry, "timer"),
            event(10_120, What::Softirq, "SCHED"),
            event(10_121, What::Softirq, "RCU"),
            event(10_122, What::Softirq, "SCHED"),
            event(10_200, What::Entry, "between two: not seen as a detour"),
            event(10_310, What::Entry, "reschedule"),
            event(10_410, What::Entry, "timer"),
            event(10_420, What::Switch, "kworker"),
            event(10_500, What::Entry, "disk"),
            event(10_600, What::Switch, "bench"),
            event(12_030, What::Entry, "reschedule"),
        ];
        let expected = [
            cause(Some("task kworker"), 1, 1000),
            cause(Some("timer, softirq RCU SCHED"), 1, 50),
            cause(Some("reschedule"), 2, 50),
            cause(None, 1, 10),
        ];
        assert_eq!(of_detours(&detours, 10_000, &events), expected);
    }

    #[test]
    fn without_events_nothing_is_explained() {
        let detours = [Detour { start: 5, length: 7 }, Detour { start: 50, length: 3 }];
        assert_eq!(of_detours(&detours, 100, &[]), [cause(None, 2, 10)]);
        assert!(of_detours(&[], 100, &[event(7, What::Entry, "timer")]).is_empty());
    }
}
