//! Texts of synthetic reports.

use super::*;
use crate::compare::assemble::assemble;
use crate::compare::result::Run;
use crate::output::specimen::{self, comparison, detours, environment, side};
use crate::report::{NotMeasured, RUN_SCHEMA};

/// The words of the table's header.
fn header(text: &str) -> Vec<&str> {
    let line = text.lines().find(|line| line.trim_start().starts_with("measure "));
    line.expect("a table").split_whitespace().collect()
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
    let text = specimen::with_missing("this kernel has no such call").text();
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
        attribution: None,
        cores: Vec::new(),
    };
    let text = report.text();
    assert_eq!(row(&text, &["getppid"]).join(" "), "getppid 200.0 ns 300.0 ns 300.0 ns");
    assert_eq!(row(&text, &["forwarded-nop"]).join(" "), "forwarded-nop not measured");
}

#[test]
fn a_tuned_side_says_what_applied_and_cells_are_set_against_it() {
    use crate::tuning::report::{Item, Tuning};
    let runs = |nanoseconds: f64, count| vec![Run::of(vec![Measure::time("getppid", vec![nanoseconds])]); count];
    let sides =
        vec![side("native", runs(200.0, 6)), side("native-tuned", runs(100.0, 6)), side("process", runs(150.0, 5))];
    let mut suite = assemble("calls", sides);
    suite.tuning = Some(Tuning {
        measured: "3".to_owned(),
        isolated: "2-3".to_owned(),
        items: vec![Item::applied("vm.stat_interval", "120, was 1"), Item::not_possible("nohz_full", "not booted")],
    });
    let text = suite_text(&suite, suite_table(&suite, false));
    assert!(text.contains("native-tuned: for the programs on 3, with 2-3 kept free, put back after each run:\n"));
    assert!(text.contains("  applied       vm.stat_interval: 120, was 1\n  not possible  nohz_full: not booted\n"));
    let process = "process 150.0 ns 150.0 ns 150.0 ns 0.750 0.0 % better";
    assert_eq!(row(&text, &["process", "150.0"]).join(" "), process);
    assert_eq!(row(&text, &["to", "tuned"]).join(" "), "to tuned 1.500 worse");

    suite.tuning = None;
    suite.without_tuned = Some("only root can tune the node's Linux".to_owned());
    assert!(
        suite_text(&suite, suite_table(&suite, false))
            .contains("without side native-tuned: only root can tune the node's Linux\n")
    );
}

#[test]
fn an_emulated_machine_shows_counts_and_no_time() {
    let text = specimen::emulated().text();
    assert!(text.contains("\nEMULATED: counts only"), "{text}");
    assert_eq!(row(&text, &["selfish-detour", "native"]).join(" "), "selfish-detour native 3 3 3 counts only");
    for time in ["µs", "ns", " ms", "/s", "250", "125", "%"] {
        let table = text.split("noise\n").last().unwrap();
        assert!(!table.contains(time), "{time}: {table}");
    }
}

#[test]
fn a_drifting_machine_refuses_to_conclude() {
    let rates = [100.0, 110.0, 120.0, 130.0, 140.0, 150.0];
    let native = rates.iter().map(|&r| Run::of(vec![detours(r)])).collect();
    let cell = rates[..5].iter().map(|&r| Run::of(vec![detours(r + 5.0)])).collect();
    let text = comparison(native, cell).text();
    assert!(text.contains("no conclusion: control differs"), "{text}");
    assert!(!text.contains("worse") && !text.contains("better"), "{text}");
}

#[test]
fn cycles_and_rare_samples_have_columns_where_there_are_any() {
    let summary = |nanoseconds: f64| Summary { p99_9: Some(nanoseconds * 7.0), ..Summary::single(nanoseconds) };
    let measure = |nanoseconds: f64| {
        let summary = Summary { count: 2000, ..summary(nanoseconds) };
        Measure { summary: Some(summary), cycles: Some(summary.scaled(2.5)), ..Measure::time("getpid", Vec::new()) }
    };
    let text = |cycles: bool| {
        let native = vec![Run::of(vec![measure(100.0)]); 6];
        let comparison = comparison(native, vec![Run::of(vec![measure(200.0)]); 5]);
        if cycles { comparison.text_with_cycles() } else { comparison.text() }
    };
    let with = text(true);
    assert_eq!(row(&with, &["getpid", "native"])[2..7].join(" "), "100.0 ns 250.0 100.0 ns");
    assert_eq!(row(&with, &["process"])[1..9].join(" "), "200.0 ns 500.0 200.0 ns 1.400 µs 200.0");
    assert!(header(&with).contains(&"cycles"));
    let without = text(false);
    assert!(!header(&without).contains(&"cycles") && header(&without).contains(&"p99.9"));
}

#[test]
fn columns_that_would_be_empty_are_left_out() {
    let text = comparison(vec![Run::of(vec![detours(1.0)]); 6], vec![Run::of(vec![detours(1.0)]); 5]);
    let text = text.text_with_cycles();
    assert!(!header(&text).contains(&"cycles") && !header(&text).contains(&"p99.9"));
}
