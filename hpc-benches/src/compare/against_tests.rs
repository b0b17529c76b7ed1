//! Changes between synthetic comparisons.

use super::*;
use crate::compare::assemble::assemble;
use crate::compare::result::{COMPARE_SCHEMA, Run, SideRuns};
use crate::machine::record::Recorder;

fn side(name: &str, runs: Vec<Run>) -> SideRuns {
    SideRuns { name: name.to_owned(), commands: vec![vec![format!("/bin/{name}")]], pinned_core: None, runs }
}

fn runs(medians: &[f64]) -> Vec<Run> {
    medians.iter().map(|&m| Run::of(vec![crate::report::Measure::time("getppid", vec![m])])).collect()
}

fn comparison(native: &[f64], cell: &[f64]) -> Comparison {
    Comparison {
        schema: COMPARE_SCHEMA.to_owned(),
        core: 1,
        pairs: cell.len(),
        environment: Recorder::start(None).finish(),
        tacet_version: Some("tacet 0.1.0".to_owned()),
        without_platforms: Vec::new(),
        not_compared: Vec::new(),
        suites: vec![assemble("calls", vec![side("native", runs(native)), side("process", runs(cell))])],
        against: None,
    }
}

/// Before and after a change of the cell.
fn changes(before: &Comparison, now: &Comparison) -> Changes {
    Older { file: "old.json".into(), comparison: Snapshot::of(before).unwrap() }.changes(now).unwrap()
}

const NATIVE: [f64; 6] = [100.0, 101.0, 99.0, 100.0, 102.0, 100.0];

#[test]
fn a_change_beyond_the_spread_of_both_is_told() {
    let before = comparison(&NATIVE, &[200.0, 205.0, 195.0, 200.0, 210.0]);
    let now = comparison(&NATIVE, &[150.0, 155.0, 145.0, 150.0, 152.0]);
    let found = changes(&before, &now);
    let conclusions: Vec<_> = found.changes.iter().map(|c| (c.side.as_str(), c.conclusion)).collect();
    assert_eq!(conclusions, [("native", Conclusion::NoChangeShown), ("process", Conclusion::Better)]);
    let cell = &found.changes[1];
    assert_eq!((cell.before, cell.now, cell.ratio), (200.0, 150.0, Some(0.75)));
    assert_eq!(cell.before_spread_percent, Some(7.5));
    assert_eq!(changes(&now, &before).changes[1].conclusion, Conclusion::Worse);
    assert_eq!(found.differences, []);
    assert_eq!(found.not_comparable, []);
}

#[test]
fn a_change_within_the_spread_of_either_is_not_shown() {
    let quiet = [200.0, 201.0, 199.0, 200.0, 200.0];
    let restless = [180.0, 120.0, 150.0, 140.0, 198.0];
    let apart_but_wide = [100.0, 190.0, 100.0, 110.0, 191.0];
    for other in [restless, apart_but_wide] {
        let found = changes(&comparison(&NATIVE, &quiet), &comparison(&NATIVE, &other));
        assert_eq!(found.changes[1].conclusion, Conclusion::NoChangeShown, "{other:?}");
    }
}

#[test]
fn four_runs_are_too_few() {
    let found = changes(&comparison(&NATIVE, &[200.0; 5]), &comparison(&NATIVE[..5], &[20.0; 4]));
    assert_eq!(found.changes[1].conclusion, Conclusion::TooFewRuns);
}

#[test]
fn higher_is_better_for_bandwidth() {
    assert_eq!(conclude(&[1.0; 5], &[2.0; 5], 1.0, Better::Higher), Conclusion::Better);
    assert_eq!(conclude(&[2.0; 5], &[1.0; 5], -1.0, Better::Higher), Conclusion::Worse);
}

#[test]
fn another_machine_is_named() {
    let before = comparison(&NATIVE, &[200.0; 5]);
    let mut now = comparison(&NATIVE, &[200.0; 5]);
    now.environment.kernel = Some("9.9.9".to_owned());
    now.environment.cpu_model = None;
    now.tacet_version = Some("tacet 0.2.0".to_owned());
    now.suites[0].commands[1].command = vec!["/elsewhere/process".to_owned(), "--stats".to_owned()];
    let found = changes(&before, &now);
    let named: Vec<_> = found.differences.iter().map(|d| d.what.as_str()).collect();
    assert_eq!(named, ["CPU", "kernel", "tacet", "options of calls, process"]);
    assert_eq!(found.differences[1].now.as_deref(), Some("9.9.9"));
    assert_eq!(found.differences[3].before.as_deref(), Some(""));
}

#[test]
fn what_only_one_has_is_listed_with_the_reason() {
    let before = comparison(&NATIVE, &[200.0; 5]);
    let mut now = comparison(&NATIVE, &[200.0; 5]);
    now.suites[0].measures[0].sides[1].side = "kvm".to_owned();
    let reasons: Vec<_> = changes(&before, &now).not_comparable.into_iter().map(|n| (n.side, n.reason)).collect();
    let text = |s: &str| s.to_owned();
    let expected =
        [(text("kvm"), text("not in the older comparison")), (text("process"), text("only in the older comparison"))];
    assert_eq!(reasons, expected);
}

#[test]
fn counts_of_an_emulated_machine_are_no_times() {
    let before = comparison(&NATIVE, &[200.0; 5]);
    let mut now = comparison(&NATIVE, &[200.0; 5]);
    now.suites[0].measures[0].sides[1].values.as_mut().unwrap().runs.clear();
    let found = changes(&before, &now);
    assert_eq!(found.not_comparable[0].reason, "now: emulated: counts only");
}

#[test]
fn a_ratio_to_nothing_is_none() {
    let found = changes(&comparison(&NATIVE, &[0.0; 5]), &comparison(&NATIVE, &[9.0; 5]));
    assert_eq!((found.changes[1].ratio, found.changes[1].conclusion), (None, Conclusion::Worse));
}
