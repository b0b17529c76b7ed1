//! Comparisons of synthetic runs with known answers.

use super::*;
use crate::compare::result::Run;
use crate::report::Statistic;
use crate::stats::verdict::Verdict;

fn side(name: &str, runs: Vec<Run>) -> SideRuns {
    SideRuns { name: name.to_owned(), commands: vec![vec![name.to_owned()]], pinned_core: Some(1), runs }
}

fn timed(name: &str, samples: &[f64]) -> Run {
    Run::of(vec![Measure::time(name, samples.to_vec())])
}

fn timed_runs(medians: &[f64]) -> Vec<Run> {
    medians.iter().map(|&m| timed("getppid", &[m])).collect()
}

#[test]
fn runs_of_a_side_are_taken_together() {
    let runs = vec![
        timed("getppid", &[10.0, 20.0, 90.0]),
        timed("getppid", &[10.0, 22.0, 70.0]),
        timed("getppid", &[10.0, 24.0, 80.0]),
    ];
    let values = values(&side("native", runs), "getppid").unwrap();
    assert_eq!(values.median, Some(22.0));
    assert_eq!(values.p99, Some(80.0));
    assert_eq!(values.max, Some(90.0));
    assert_eq!(values.detours_per_second, None);
    assert_eq!(values.runs, [20.0, 22.0, 24.0]);
    assert!((values.spread_percent.unwrap() - 400.0 / 22.0).abs() < 1e-9);
}

#[test]
fn rare_samples_are_told_where_every_run_can() {
    let many = |count: u32| timed("getppid", &(1..=count).map(f64::from).collect::<Vec<_>>());
    let p99_9 = |runs| values(&side("native", runs), "getppid").unwrap().p99_9;
    assert_eq!(p99_9(vec![many(2000), many(3000), many(1001)]), Some(1998.0));
    assert_eq!(p99_9(vec![many(2000), many(3000), many(1000)]), None);
}

#[test]
fn runs_of_one_sample_are_samples_together() {
    let values = values(&side("native", timed_runs(&[5.0, 1.0, 3.0, 4.0, 2.0])), "getppid").unwrap();
    assert_eq!((values.median, values.p99, values.max), (Some(3.0), Some(5.0), Some(5.0)));
}

#[test]
fn a_slower_cell_is_worse_and_native_has_no_effect() {
    let native = timed_runs(&[100.0, 101.0, 100.0, 99.0, 100.0, 100.0]);
    let cell = timed_runs(&[200.0; 5]);
    let suite = assemble("calls", vec![side("native", native), side("process", cell)]);
    let sides = &suite.measures[0].sides;
    assert_eq!(sides[0].effect, None);
    let effect = sides[1].effect.unwrap();
    assert_eq!(effect.ratio, Some(2.0));
    assert_eq!(effect.control_band, 1.0);
    assert_eq!(effect.verdict, Verdict::Worse);
    assert_eq!(suite.commands[1].side, "process");
}

#[test]
fn a_difference_within_the_control_is_not_shown() {
    let native = timed_runs(&[100.0, 140.0, 90.0, 150.0, 100.0, 130.0]);
    let cell = timed_runs(&[110.0, 150.0, 100.0, 160.0, 110.0]);
    let suite = assemble("calls", vec![side("native", native), side("process", cell)]);
    let effect = suite.measures[0].sides[1].effect.unwrap();
    assert_eq!(effect.verdict, Verdict::NoDifferenceShown);
}

#[test]
fn what_native_lacks_is_not_measured_and_keeps_its_place() {
    let two =
        |first: &str, second: &str| Run::of(vec![Measure::time(first, vec![1.0]), Measure::time(second, vec![1.0])]);
    let mut native = two("getppid", "write-1");
    native
        .not_measured
        .push(NotMeasured { name: "ring-roundtrip".to_owned(), reason: "this kernel has no such call".to_owned() });
    let mut cell = two("getppid", "ring-roundtrip");
    cell.measures.push(Measure::time("write-1", vec![2.0]));
    let native = side("native", vec![native; 6]);
    let suite = assemble("calls", vec![native, side("process", vec![cell; 5])]);
    let names: Vec<&str> = suite.measures.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["getppid", "ring-roundtrip", "write-1"]);
    let ring = &suite.measures[1].sides;
    assert_eq!(ring[0].values, None);
    assert_eq!(ring[0].not_measured.as_deref(), Some("this kernel has no such call"));
    assert!(ring[1].values.is_some());
    assert_eq!(ring[1].effect, None);
}

#[test]
fn what_no_side_has_is_still_listed() {
    let missing = NotMeasured { name: "forwarded-nop".to_owned(), reason: "this kernel has no such call".to_owned() };
    let mut run = timed("getppid", &[1.0]);
    run.not_measured.push(missing.clone());
    let suite = assemble("calls", vec![side("native", vec![run.clone(); 6]), side("process", vec![run; 5])]);
    assert_eq!(suite.not_measured, [missing]);
    assert_eq!(suite.measures.len(), 1);
}

#[test]
fn silence_in_the_cell_is_a_result() {
    let detours = |lengths: &[f64], rate: f64| {
        Run::of(vec![Measure {
            compared: Statistic::DetoursPerSecond,
            detours_per_second: Some(rate),
            ..Measure::time("selfish-detour", lengths.to_vec())
        }])
    };
    let native = side("native", vec![detours(&[5.0, 6.0], 250.0); 6]);
    let cell = side("process", vec![detours(&[], 0.0); 5]);
    let suite = assemble("noise", vec![native, cell]);
    let cell = &suite.measures[0].sides[1];
    let values = cell.values.as_ref().unwrap();
    assert_eq!((values.median, values.max), (None, None));
    assert_eq!(values.detours_per_second, Some(0.0));
    assert_eq!(cell.effect.unwrap().verdict, Verdict::Better);
}

#[test]
fn a_measure_missing_in_one_run_is_not_measured() {
    let mut runs = timed_runs(&[1.0; 5]);
    runs.push(Run::of(Vec::new()));
    let suite = assemble("calls", vec![side("native", runs)]);
    let native = &suite.measures[0].sides[0];
    assert_eq!(native.not_measured.as_deref(), Some("not every run of this side gave a value"));
}

#[test]
fn a_side_on_the_wrong_core_is_warned_about() {
    let on = |core| Run { core: Some(core), ..timed("fwq", &[1.0]) };
    let suite = assemble("noise", vec![side("native", vec![on(1)]), side("process", vec![on(0)])]);
    assert_eq!(suite.warnings.len(), 1);
    assert!(suite.warnings[0].starts_with("side process ran on core 0, not on core 1"));
}

#[test]
fn cells_are_set_against_tuned_linux_too() {
    let native = timed_runs(&[200.0; 6]);
    let tuned = timed_runs(&[100.0, 101.0, 100.0, 100.0, 99.0, 100.0]);
    let cell = timed_runs(&[150.0; 5]);
    let sides = vec![side("native", native), side("native-tuned", tuned), side("process", cell)];
    let suite = assemble("calls", sides);
    let [native, tuned, cell] = &suite.measures[0].sides[..] else { panic!("three sides") };
    assert_eq!((native.effect, native.against_tuned, tuned.against_tuned), (None, None, None));
    assert_eq!(tuned.effect.unwrap().verdict, Verdict::Better);
    assert_eq!(tuned.effect.unwrap().ratio, Some(0.5));
    assert_eq!(cell.effect.unwrap().verdict, Verdict::Better);
    let against_tuned = cell.against_tuned.unwrap();
    assert_eq!((against_tuned.ratio, against_tuned.verdict), (Some(1.5), Verdict::Worse));
    assert_eq!(against_tuned.control_band, 1.0);
}
