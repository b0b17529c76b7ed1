//! The suite noise as a user meets it: its cores, its traces, and who disturbed them.

mod support;

use std::fs;

use serde_json::Value;
use support::processes::allowed_cores;
use support::{Folder, assert_refused_as, json, json_of, measure, tacet_bench};

#[test]
fn plots_have_what_they_draw_from() {
    let output = tacet_bench(&["noise", "--seconds", "0.2", "--threshold-ns", "100", "--json", "-"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "nothing is shown where there is no terminal");
    let report = json(&output);
    let measures = &report["measures"];
    let selfish = measure(measures, "selfish-detour");
    let events = selfish["summary"]["count"].as_u64().unwrap_or(0);
    let kept = selfish["trace"].as_array().expect("a trace").len() as u64;
    assert_eq!(kept, events.min(4096));
    for name in ["fwq", "hourglass"] {
        let measure = measure(measures, name);
        let bins = measure["histogram"].as_array().expect("a histogram");
        let counted: f64 = bins.iter().filter_map(|bin| bin[1].as_f64()).sum();
        assert_eq!(Some(counted), measure["summary"]["count"].as_f64(), "{name}");
        let bounds: Vec<f64> = bins.iter().filter_map(|bin| bin[0].as_f64()).collect();
        assert!(bounds.is_sorted() && bounds[0] <= measure["summary"]["min"].as_f64().unwrap_or(0.0) + 1.0, "{name}");
    }
}

#[test]
fn who_disturbed_the_core_is_told() {
    let report = json_of(&["noise", "--seconds", "0.4", "--json", "-"]);
    let found = &report["attribution"];
    assert!(found["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.1), "{found}");
    assert!(found["unexplained"].is_u64(), "{found}");
    let of_kind = |kind: &str| found["sources"].as_array().into_iter().flatten().any(|source| source["kind"] == kind);
    assert!(of_kind("page-fault") && of_kind("context-switch") && of_kind("steal"), "{found}");
}

#[test]
fn a_core_by_its_number_is_the_one_that_is_measured() {
    for core in allowed_cores() {
        let report = json_of(&["noise", "--core", &core.to_string(), "--seconds", "0.05", "--json", "-"]);
        assert_eq!(report["core"], core);
        assert_eq!(report["cores"], Value::Null, "a single core is told once");
    }
}

#[test]
fn all_cores_are_told_each_and_together_and_each_has_its_trace() {
    let folder = Folder::new();
    let file = folder.file("trace.json");
    let report = json_of(&[
        "noise",
        "--all-cores",
        "--seconds",
        "0.2",
        "--threshold-ns",
        "100",
        "--trace",
        &file,
        "--label",
        "here",
        "--json",
        "-",
    ]);
    let cores = report["cores"].as_array().expect("several cores");
    assert_eq!(cores.iter().filter_map(|core| core["core"].as_u64()).collect::<Vec<_>>(), allowed_cores());
    let count = |measures: &Value| measure(measures, "selfish-detour")["summary"]["count"].as_u64().unwrap_or(0);
    assert_eq!(count(&report["measures"]), cores.iter().map(|core| count(&core["measures"])).sum::<u64>());
    for core in cores {
        let path = folder.file(&format!("trace-{}.json", core["core"]));
        let trace: Value = serde_json::from_str(&fs::read_to_string(path).expect("a trace")).expect("JSON");
        assert_eq!((&trace["schema"], &trace["side"]), (&"tacet-bench-trace/1".into(), &"here".into()));
        assert_eq!(trace["core"], core["core"]);
        assert_eq!(trace["threshold_ns"], 100.0);
        let detours = trace["detours"].as_array().expect("a list");
        assert_eq!(detours.len() as u64, count(&core["measures"]), "all of them, not only the longest");
        let end = trace["seconds"].as_f64().unwrap_or(0.0) * 1e9;
        let starts: Vec<f64> = detours.iter().filter_map(|detour| detour[0].as_f64()).collect();
        assert!(starts.is_sorted() && starts.iter().all(|&start| start <= end * 2.0));
        assert!(detours.iter().all(|detour| detour[1].as_f64() > Some(100.0)));
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    assert_refused_as(&["noise", "--core", "100000", "--seconds", "0.1"], 2, "core 100000 is not among the cores");
    assert_refused_as(&["noise", "--core", "0", "--all-cores"], 2, "--all-cores");
    assert_refused_as(&["noise", "--seconds", "0.001"], 2, "--quantum-us");
    assert_refused_as(&["noise", "--label", "x"], 2, "--trace");
    assert_refused_as(&["noise", "--trace", "/nonexistent/x", "--seconds", "100"], 1, "cannot write /nonexistent/x");
    assert_refused_as(&["compare", "noise", "--load", "heat", "--tacet", "/bin/true"], 2, "heat");
    let io = ["compare", "noise", "--load", "io", "--load-dir", "/nonexistent/x", "--tacet", "/bin/true"];
    assert_refused_as(&io, 1, "/nonexistent/x");
}

#[test]
fn all_cores_are_compared_core_by_core() {
    let folder = Folder::new();
    let tacet = folder.file("tacet");
    let report = json_of(&[
        "compare",
        "noise",
        "--all-cores",
        "--pairs",
        "1",
        "--seconds",
        "0.1",
        "--tacet",
        &tacet,
        "--json",
        "-",
    ]);
    let suite = &report["suites"][0];
    let rows: Vec<_> = suite["cores"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|row| (row["core"].as_u64().unwrap_or(u64::MAX), row["side"].as_str().unwrap_or_default().to_owned()))
        .collect();
    let expected: Vec<_> = allowed_cores()
        .into_iter()
        .flat_map(|core| ["native", "process"].map(|side| (core, side.to_owned())))
        .collect();
    assert_eq!(rows, expected);
    let names: Vec<String> = allowed_cores().iter().map(|core| format!("{core}-{core}")).collect();
    let command = suite["commands"][1]["command"].to_string();
    assert!(command.contains(&names.join(",")), "{command}");
}
