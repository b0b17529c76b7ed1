//! Who had a core while a program wanted it: part of the contract between the measuring and the comparing side.
//!
//! What Linux counts on a core (interrupts, softirqs, tasks that took the core, page faults, time that the
//! hypervisor took) is read before and after the detours were watched. Counters don't say which detour was
//! whose, but they bound it: every detour that Linux caused began with an interrupt or a page fault, since the
//! program makes no call. Softirqs and other tasks come in by such an interrupt and are no further cause of
//! detours. So at least *detours − interrupts − page faults* detours have a cause that Linux does not see:
//! hardware (system management mode) or the hypervisor. It is a lower bound, for one detour may hold several
//! interrupts, and one interrupt may be shorter than the threshold.

use serde::{Deserialize, Serialize};

use crate::report::NotMeasured;

/// The name of what no counter explains.
pub const UNEXPLAINED: &str = "hardware or hypervisor";

/// What disturbed one core, or several together, while detours were watched.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attribution {
    /// Seconds between the readings of the counters, summed over cores and runs; none on an emulated machine.
    pub seconds: Option<f64>,
    /// Detours seen meanwhile.
    pub detours: u64,
    /// Their lengths together, in nanoseconds; none on an emulated machine.
    pub detour_ns: Option<f64>,
    /// What is known to have disturbed the core.
    pub sources: Vec<Source>,
    /// Detours that must have another cause, at least; none where interrupts can't be counted.
    pub unexplained: Option<u64>,
    /// What each detour was, where the kernel's trace was taken beside it; most time first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// What could not be read here, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<NotMeasured>,
}

/// One source of disturbance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// What kind of source it is.
    pub kind: Kind,
    /// Which one: for interrupts and softirqs as `/proc/interrupts` and `/proc/softirqs` name it.
    pub name: String,
    /// How often it came; none where only its time is known.
    pub events: Option<u64>,
    /// Time that it took, in nanoseconds, where the kernel tells.
    pub nanoseconds: Option<f64>,
}

/// Detours of the same cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// The interrupt or the task; none where the kernel did nothing meanwhile: hardware or hypervisor.
    pub name: Option<String>,
    /// How many they are.
    pub detours: u64,
    /// How long they are together; none on an emulated machine.
    pub nanoseconds: Option<f64>,
}

/// Kinds of sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An entry into Linux: device, timer or another core.
    Interrupt,
    /// Work that Linux does at the end of an interrupt.
    Softirq,
    /// Another task had the core.
    ContextSwitch,
    /// An entry into Linux for a page of the program.
    PageFault,
    /// Time that the hypervisor gave to others.
    Steal,
    /// An entry into the cell's kernel; counted over the whole life of the cell.
    Cell,
}

impl Kind {
    /// Name, as tables print it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "interrupt",
            Self::Softirq => "softirq",
            Self::ContextSwitch => "context switch",
            Self::PageFault => "page fault",
            Self::Steal => "steal",
            Self::Cell => "cell",
        }
    }
}

/// Lines of `/proc/interrupts` that are no entries of their own: TLB shootdowns come as function calls (CAL) and
/// are counted there too (since Linux 4.9, arch/x86/kernel/irq.c), machine check polls come with the timer, and the
/// others count mishaps of the APICs.
const COUNTED_ELSEWHERE: [&str; 5] = ["TLB", "MCP", "RTR", "ERR", "MIS"];

impl Source {
    /// Whether each event is an interruption by itself, and not a consequence of one.
    fn begins_detours(&self) -> bool {
        match self.kind {
            Kind::Interrupt => !COUNTED_ELSEWHERE.contains(&self.name.split(' ').next().unwrap_or_default()),
            kind => kind == Kind::PageFault,
        }
    }
}

impl Attribution {
    /// Works out what is left unexplained. Without a count of interrupts that can't be said.
    pub fn explain(mut self) -> Self {
        let are_interrupts_known = !self.unread.iter().any(|missing| missing.name == Kind::Interrupt.name());
        let entries: u64 =
            self.sources.iter().filter(|source| source.begins_detours()).filter_map(|source| source.events).sum();
        self.unexplained = are_interrupts_known.then(|| self.detours.saturating_sub(entries));
        self
    }

    /// Several attributions as one: other cores, or other runs of a side. The unexplained detours are added, not
    /// worked out again: an interrupt of one core explains nothing on another.
    pub fn together<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        parts.into_iter().fold(None, |sum: Option<Self>, part| match sum {
            None => Some(part.clone()),
            Some(sum) => Some(sum.add(part)),
        })
    }

    fn add(mut self, other: &Self) -> Self {
        self.seconds = sum(self.seconds, other.seconds);
        self.detours += other.detours;
        self.detour_ns = sum(self.detour_ns, other.detour_ns);
        for source in &other.sources {
            self.add_source(source);
        }
        for cause in &other.causes {
            match self.causes.iter_mut().find(|known| known.name == cause.name) {
                None => self.causes.push(cause.clone()),
                Some(known) => {
                    known.detours += cause.detours;
                    known.nanoseconds = sum(known.nanoseconds, cause.nanoseconds);
                }
            }
        }
        self.unexplained = self.unexplained.zip(other.unexplained).map(|(a, b)| a + b);
        for missing in &other.unread {
            if !self.unread.contains(missing) {
                self.unread.push(missing.clone());
            }
        }
        self
    }

    /// The same without times: what was counted. Steal is time alone.
    pub fn counts_only(self) -> Self {
        let sources = self.sources.into_iter().filter(|source| source.events.is_some());
        Self {
            seconds: None,
            detour_ns: None,
            sources: sources.map(|source| Source { nanoseconds: None, ..source }).collect(),
            causes: self.causes.into_iter().map(|cause| Cause { nanoseconds: None, ..cause }).collect(),
            ..self
        }
    }

    /// Adds what `source` did, to what is known of it where it is known.
    pub fn add_source(&mut self, source: &Source) {
        let is_same = |known: &&mut Source| known.kind == source.kind && known.name == source.name;
        match self.sources.iter_mut().find(is_same) {
            None => self.sources.push(source.clone()),
            Some(known) => {
                known.events = sum(known.events, source.events);
                known.nanoseconds = sum(known.nanoseconds, source.nanoseconds);
            }
        }
    }
}

/// Both together, as far as they are known.
pub fn sum<T: std::ops::Add<Output = T>>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(kind: Kind, name: &str, events: u64) -> Source {
        Source { kind, name: name.to_owned(), events: Some(events), nanoseconds: None }
    }

    fn attribution(detours: u64, sources: Vec<Source>) -> Attribution {
        Attribution { seconds: Some(1.0), detours, detour_ns: Some(1000.0), sources, ..Attribution::default() }
            .explain()
    }

    #[test]
    fn what_no_entry_explains_is_left() {
        let sources = vec![
            source(Kind::Interrupt, "LOC", 250),
            source(Kind::Interrupt, "36", 20),
            source(Kind::PageFault, "minor", 5),
            source(Kind::Interrupt, "TLB TLB shootdowns", 20),
            source(Kind::Softirq, "TIMER", 240),
            source(Kind::ContextSwitch, "another task", 7),
        ];
        assert_eq!(attribution(300, sources.clone()).unexplained, Some(25));
        assert_eq!(attribution(270, sources).unexplained, Some(0));
    }

    #[test]
    fn without_interrupts_nothing_can_be_said() {
        let missing = NotMeasured { name: "interrupt".to_owned(), reason: "no such core".to_owned() };
        let blind = Attribution { detours: 9, unread: vec![missing], ..Attribution::default() };
        assert_eq!(blind.explain().unexplained, None);
    }

    #[test]
    fn cores_are_explained_each_by_its_own_interrupts() {
        let busy = attribution(10, vec![source(Kind::Interrupt, "LOC", 500)]);
        let stolen = attribution(40, vec![source(Kind::Interrupt, "LOC", 10), source(Kind::Interrupt, "36", 1)]);
        let together = Attribution::together([&busy, &stolen]).unwrap();
        assert_eq!(together.unexplained, Some(29));
        assert_eq!((together.seconds, together.detours, together.detour_ns), (Some(2.0), 50, Some(2000.0)));
        assert_eq!(together.sources, [source(Kind::Interrupt, "LOC", 510), source(Kind::Interrupt, "36", 1)]);
        assert_eq!(Attribution::together([]), None);
    }

    #[test]
    fn causes_are_added_by_their_names() {
        let with = |causes: &[(Option<&str>, u64)]| Attribution {
            causes: causes
                .iter()
                .map(|&(name, detours)| Cause { name: name.map(str::to_owned), detours, nanoseconds: Some(10.0) })
                .collect(),
            ..Attribution::default()
        };
        let together = Attribution::together([&with(&[(None, 1), (Some("timer"), 2)]), &with(&[(None, 3)])]).unwrap();
        let found: Vec<_> = together.causes.iter().map(|c| (c.name.as_deref(), c.detours, c.nanoseconds)).collect();
        assert_eq!(found, [(None, 4, Some(20.0)), (Some("timer"), 2, Some(10.0))]);
    }

    #[test]
    fn without_times_counts_are_left() {
        let mut whole = attribution(9, vec![source(Kind::Interrupt, "LOC", 5), source(Kind::ContextSwitch, "x", 2)]);
        whole.sources[1].nanoseconds = Some(77.0);
        whole.sources.push(Source { events: None, nanoseconds: Some(77.0), ..source(Kind::Steal, "x", 0) });
        whole.causes.push(Cause { name: None, detours: 3, nanoseconds: Some(77.0) });
        let counts = whole.counts_only();
        let expected = [source(Kind::Interrupt, "LOC", 5), source(Kind::ContextSwitch, "x", 2)];
        assert_eq!((&counts.sources[..], counts.detours, counts.unexplained), (&expected[..], 9, Some(4)));
        assert_eq!((counts.seconds, counts.detour_ns), (None, None));
        assert_eq!(counts.causes, [Cause { name: None, detours: 3, nanoseconds: None }]);
    }

    #[test]
    fn it_survives_json() {
        let mut whole = attribution(3, vec![source(Kind::ContextSwitch, "another task", 2)]);
        whole.sources[0].nanoseconds = Some(1e6);
        whole.unread.push(NotMeasured { name: "softirq".to_owned(), reason: "no file".to_owned() });
        let json = serde_json::to_string(&whole).unwrap();
        assert!(json.contains(r#""kind":"context-switch""#), "{json}");
        assert_eq!(serde_json::from_str::<Attribution>(&json).unwrap(), whole);
    }
}
