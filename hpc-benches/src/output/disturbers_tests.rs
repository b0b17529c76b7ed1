//! Tables of synthetic attributions.

use super::*;
use crate::output::several_cores::cores;
use crate::report::{CoreReport, Measure, Statistic};

fn source(kind: Kind, name: &str, events: u64) -> Source {
    Source { kind, name: name.to_owned(), events: Some(events), nanoseconds: None }
}

fn attribution(detours: u64, mut sources: Vec<Source>) -> Attribution {
    sources.push(Source {
        kind: Kind::Steal,
        name: "by the hypervisor".to_owned(),
        events: None,
        nanoseconds: Some(1e7),
    });
    Attribution { seconds: Some(2.0), detours, detour_ns: Some(2e7), sources, ..Attribution::default() }.explain()
}

/// The words of the line that begins with these.
fn row(text: &str, start: &str) -> String {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines().map(words).find(|line| line.starts_with(start)).unwrap_or_default()
}

#[test]
fn rates_are_per_second_and_times_are_shares() {
    let one = attribution(600, vec![source(Kind::Interrupt, "LOC timer", 500)]);
    let text = text(&[("", Some(&one))]);
    assert_eq!(row(&text, "detours"), "detours 300.0 1.000 %");
    assert_eq!(row(&text, "interrupt"), "interrupt LOC timer 250.0");
    assert_eq!(row(&text, "steal"), "steal by the hypervisor 0.5000 %");
    assert_eq!(row(&text, "hardware"), "hardware or hypervisor at least 50.00");
}

#[test]
fn sides_stand_beside_each_other_and_what_one_cannot_read_is_no_zero() {
    let native = attribution(600, vec![source(Kind::Interrupt, "LOC timer", 500)]);
    let mut cell = attribution(2, Vec::new());
    for name in ["interrupt", "softirq"] {
        cell.unread.push(NotMeasured { name: name.to_owned(), reason: "no such core".to_owned() });
    }
    let text = text(&[("native", Some(&native)), ("partition", Some(&cell.explain()))]);
    assert_eq!(row(&text, "interrupt"), "interrupt LOC timer 250.0 -");
    assert_eq!(row(&text, "hardware"), "hardware or hypervisor at least 50.00 -");
    assert!(text.contains("not read: interrupt, softirq on partition: no such core\n"));
}

#[test]
fn many_sources_are_told_as_the_frequent_ones_and_the_others() {
    let sources = (0..8).map(|number| source(Kind::Interrupt, &format!("irq{number}"), 2 << number)).collect();
    let found = attribution(0, sources);
    let text = text(&[("", Some(&found))]);
    assert_eq!(row(&text, "interrupt irq7"), "interrupt irq7 128.0");
    assert_eq!(row(&text, "interrupt 3 others"), "interrupt 3 others 7.000");
    assert!(!text.contains("irq2"));
}

#[test]
fn a_cells_counters_are_told_in_all_and_idle_ones_together() {
    let mut sources = vec![source(Kind::Cell, "kicks", 3)];
    sources.extend(["timer", "signals", "involuntary"].map(|name| source(Kind::Cell, name, 0)));
    let text = text(&[("native", Some(&attribution(0, Vec::new()))), ("kvm", Some(&attribution(0, sources)))]);
    assert_eq!(row(&text, "cell kicks"), "cell kicks - 3 in all");
    assert_eq!(row(&text, "cell 3 others"), "cell 3 others - 0 in all");
    assert!(!text.contains("timer"));
}

#[test]
fn causes_are_told_with_the_most_time_first() {
    let mut found = attribution(3, Vec::new());
    let cause = |name: Option<&str>, detours, nanoseconds| Cause {
        name: name.map(str::to_owned),
        detours,
        nanoseconds: Some(nanoseconds),
    };
    found.causes = vec![cause(None, 1, 1000.0), cause(Some("task kworker"), 2, 4e6)];
    found.causes.extend((0..12).map(|number| cause(Some(&format!("rare {number}")), 1, 10.0)));
    let text = text(&[("", Some(&found))]);
    assert_eq!(row(&text, "task kworker"), "task kworker 1.000 0.2000 % 2.000 ms");
    assert_eq!(row(&text, "hardware or hypervisor 0"), "hardware or hypervisor 0.5000 0.0000 % 1.000 µs");
    assert_eq!(row(&text, "1 others"), "1 others 0.5000 0.0000 % 10.00 ns");
}

#[test]
fn without_times_there_are_counts() {
    let mut found = attribution(600, vec![source(Kind::Interrupt, "LOC timer", 500)]);
    found.causes = vec![Cause { name: Some("irq timer".to_owned()), detours: 7, nanoseconds: Some(3e6) }];
    let counts = found.counts_only();
    let text = text(&[("", Some(&counts))]);
    assert_eq!(row(&text, "source"), "source which events time");
    assert_eq!(row(&text, "detours"), "detours 600 in all");
    assert_eq!(row(&text, "interrupt"), "interrupt LOC timer 500 in all");
    assert_eq!(row(&text, "irq timer"), "irq timer 7 in all - -");
    assert!(!text.contains('%') && !text.contains("per second"), "{text}");
    let core = CoreReport {
        core: 1,
        measures: vec![Measure {
            events: Some(4),
            compared: Statistic::DetoursPerSecond,
            ..Measure::time("x", vec![])
        }],
        attribution: counts,
    };
    assert_eq!(row(&cores(&[core]), "1"), "1 4 100 in all");
}

#[test]
fn nothing_known_prints_nothing() {
    assert_eq!(text(&[("native", None), ("process", None)]), "");
    assert_eq!(cores(&[]), "");
}

#[test]
fn each_core_has_its_row() {
    let of = |core, ns| CoreReport {
        core,
        measures: vec![Measure::time("fwq", vec![ns])],
        attribution: attribution(10, Vec::new()),
    };
    let text = cores(&[of(1, 2000.0), of(4, 3000.0)]);
    assert_eq!(row(&text, "1"), "1 2.000 µs 5.000 /s");
    assert_eq!(row(&text, "4"), "4 3.000 µs 5.000 /s");
}
