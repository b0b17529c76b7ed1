//! Texts of synthetic reports.

use super::*;
use crate::compare::result::{COMPARE_SCHEMA, Run, SideRuns, assemble};
use crate::report::{NotMeasured, RUN_SCHEMA};

fn environment() -> Environment {
    Environment {
        date: "2026-01-02T03:04:05Z".to_owned(),
        command_line: vec!["tacet-bench".to_owned(), "compare".to_owned()],
        version: "0.1.0".to_owned(),
        cpu_model: Some("Some CPU".to_owned()),
        virtual_machine: Some(true),
        kernel: Some("6.1.0".to_owned()),
        clock_source: Some("tsc".to_owned()),
        governor: None,
        load_before: Some([0.25, 0.0, 0.0]),
        load_after: None,
        steal_percent: Some(1.5),
    }
}

fn detours(rate: f64) -> Measure {
    Measure {
        compared: Statistic::DetoursPerSecond,
        detours_per_second: Some(rate),
        ..Measure::time("selfish-detour", vec![2500.0; 3])
    }
}

fn side(name: &str, runs: Vec<Run>) -> SideRuns {
    SideRuns {
        name: name.to_owned(),
        commands: vec![vec![name.to_owned(), "noise".to_owned()]],
        pinned_core: None,
        runs,
    }
}

fn comparison(native: Vec<Run>, cell: Vec<Run>) -> Comparison {
    Comparison {
        schema: COMPARE_SCHEMA.to_owned(),
        core: 1,
        pairs: cell.len(),
        environment: environment(),
        suites: vec![assemble("noise", vec![side("native", native), side("process", cell)])],
    }
}

/// The words of the line of the table that begins with these.
fn row<'a>(text: &'a str, start: &[&str]) -> Vec<&'a str> {
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .rfind(|words| words.starts_with(start))
        .unwrap_or_default()
}

#[test]
fn the_table_is_the_end_of_a_comparison() {
    let rates = [250.0, 251.0, 249.0, 250.0, 250.0, 250.0];
    let native = rates.iter().map(|&r| Run::of(vec![detours(r)])).collect();
    let cell = vec![Run::of(vec![detours(125.0)]); 5];
    let text = comparison(native, cell).text();
    let native = row(&text, &["selfish-detour", "native"]);
    assert_eq!(native.join(" "), "selfish-detour native 2.500 µs 2.500 µs 2.500 µs 250.0 0.8 %");
    assert_eq!(row(&text, &["control"]).join(" "), "control 1.000 ±2.000 /s");
    assert_eq!(
        row(&text, &["process", "2.500"]).join(" "),
        "process 2.500 µs 2.500 µs 2.500 µs 125.0 0.500 0.0 % better"
    );
    let last_words = text.lines().last().unwrap();
    assert!(last_words.ends_with("better"), "{last_words}");
}

#[test]
fn a_restless_machine_shows_no_difference() {
    let rates = [100.0, 300.0, 90.0, 280.0, 110.0, 250.0];
    let native = rates.iter().map(|&r| Run::of(vec![detours(r)])).collect();
    let cell = vec![Run::of(vec![detours(120.0)]); 5];
    let text = comparison(native, cell).text();
    assert!(text.contains("no difference shown"));
    assert!(!text.contains("better"));
}

#[test]
fn what_a_side_lacks_says_not_measured_and_why() {
    let mut without = Run::of(Vec::new());
    without
        .not_measured
        .push(NotMeasured { name: "ring-roundtrip".to_owned(), reason: "this kernel has no such call".to_owned() });
    let with = Run::of(vec![Measure::time("ring-roundtrip", vec![450.0])]);
    let text = comparison(vec![without; 6], vec![with; 5]).text();
    assert_eq!(row(&text, &["ring-roundtrip", "native"]).join(" "), "ring-roundtrip native not measured");
    assert!(text.contains("not measured: ring-roundtrip on native: this kernel has no such call\n"));
    assert!(!text.contains("control "), "no control without native values");
}

#[test]
fn the_record_of_the_machine_is_printed() {
    let text = machine(&environment());
    assert!(text.contains("Some CPU (virtual machine)"));
    assert!(text.contains("governor unknown"));
    assert!(text.contains("0.25 before, unknown after; stolen by the hypervisor: 1.50 %"));
    assert!(text.ends_with("command: tacet-bench compare\n"));
}

#[test]
fn a_one_sided_run_prints_what_it_found() {
    let report = RunReport {
        schema: RUN_SCHEMA.to_owned(),
        suite: "calls".to_owned(),
        core: Some(1),
        settings: std::collections::BTreeMap::new(),
        environment: environment(),
        measures: vec![Measure::time("getppid", vec![100.0, 200.0, 300.0])],
        not_measured: vec![NotMeasured {
            name: "forwarded-nop".to_owned(),
            reason: "this kernel has no such call".to_owned(),
        }],
    };
    let text = report.text();
    assert_eq!(row(&text, &["getppid"]).join(" "), "getppid 200.0 ns 300.0 ns 300.0 ns");
    assert_eq!(row(&text, &["forwarded-nop"]).join(" "), "forwarded-nop not measured");
}
