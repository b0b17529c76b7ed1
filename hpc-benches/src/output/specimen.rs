//! Synthetic comparisons for the tests of all forms of output.

use crate::compare::Comparison;
use crate::compare::assemble::assemble;
use crate::compare::result::{COMPARE_SCHEMA, Run, SideRuns, SuiteComparison, Turn};
use crate::machine::record::Environment;
use crate::report::{Measure, NotMeasured, Statistic};

/// A machine that tells most things.
pub fn environment() -> Environment {
    Environment {
        date: "2026-01-02T03:04:05Z".to_owned(),
        command_line: vec!["tacet-bench".to_owned(), "compare".to_owned()],
        version: "0.1.0".to_owned(),
        cpu_model: Some("Some CPU".to_owned()),
        virtual_machine: Some(true),
        emulated: false,
        kernel: Some("6.1.0".to_owned()),
        clock_source: Some("tsc".to_owned()),
        governor: None,
        load_before: Some([0.25, 0.0, 0.0]),
        load_after: None,
        steal_percent: Some(1.5),
    }
}

/// Three detours of 2.5 µs, so many a second.
pub fn detours(rate: f64) -> Measure {
    Measure {
        compared: Statistic::DetoursPerSecond,
        detours_per_second: Some(rate),
        ..Measure::time("selfish-detour", vec![2500.0; 3])
    }
}

/// The runs of a side.
pub fn side(name: &str, runs: Vec<Run>) -> SideRuns {
    SideRuns {
        name: name.to_owned(),
        commands: vec![vec![name.to_owned(), "noise".to_owned()]],
        pinned_core: None,
        runs,
    }
}

/// A comparison of one suite, one run every two seconds.
pub fn comparison(native: Vec<Run>, cell: Vec<Run>) -> Comparison {
    let pairs = cell.len();
    let turn = |index: usize| Turn {
        side: if index.is_multiple_of(2) { "native" } else { "process" }.to_owned(),
        started_seconds: Some(2.0 * index as f64),
    };
    let order = (0..2 * pairs + 1).map(turn).collect();
    let suite = assemble("noise", vec![side("native", native), side("process", cell)]);
    Comparison {
        schema: COMPARE_SCHEMA.to_owned(),
        core: 1,
        pairs,
        environment: environment(),
        tacet_version: Some("tacet 0.1.0".to_owned()),
        without_platforms: Vec::new(),
        not_compared: Vec::new(),
        suites: vec![SuiteComparison { order, ..suite }],
        against: None,
    }
}

/// Half as many detours in the cell as on Linux.
pub fn noise() -> Comparison {
    noise_of(detours)
}

/// The same with what plots are drawn from.
pub fn traced_noise() -> Comparison {
    noise_of(|rate| Measure {
        trace: Some(vec![[1e6, 2500.0], [2e6, 2500.0], [9e8, 2500.0]]),
        histogram: Some(vec![[2000.0, 3.0]]),
        ..detours(rate)
    })
}

fn noise_of(measure: impl Fn(f64) -> Measure) -> Comparison {
    let rates = [250.0, 251.0, 249.0, 250.0, 250.0, 250.0];
    let native = rates.iter().map(|&rate| Run::of(vec![measure(rate)])).collect();
    comparison(native, vec![Run::of(vec![measure(125.0)]); 5])
}

/// `ring-roundtrip`, which native lacks for this reason.
pub fn with_missing(reason: &str) -> Comparison {
    let mut without = Run::of(Vec::new());
    without.not_measured.push(NotMeasured { name: "ring-roundtrip".to_owned(), reason: reason.to_owned() });
    let with = Run::of(vec![Measure::time("ring-roundtrip", vec![450.0])]);
    comparison(vec![without; 6], vec![with; 5])
}

/// As [`traced_noise`], on an emulated machine.
pub fn emulated() -> Comparison {
    let mut comparison = traced_noise();
    comparison.environment.emulated = true;
    comparison.counts_only_where_emulated()
}
