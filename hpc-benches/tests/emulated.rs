//! A machine that is said to be emulated: counts, and no times.

mod support;

use support::schema::assert_layout;
use support::{Folder, command, json, stdout};

fn emulated(arguments: &[&str]) -> std::process::Output {
    command(arguments).env("TACET_BENCH_EMULATED", "1").output().expect("tacet-bench starts")
}

/// No number with a unit of time, of a share of time, or of a rate.
#[track_caller]
fn assert_no_times(text: &str) {
    const UNITS: [&str; 6] = ["ns", "µs", "ms", "s", "%", "/s"];
    // The record of the machine above has its steal, and what was typed.
    let results: Vec<&str> = text.split("\ncore:").skip(1).collect();
    assert!(!results.is_empty(), "{text}");
    let words: Vec<&str> = results.iter().flat_map(|part| part.split_whitespace()).collect();
    for pair in words.windows(2) {
        let is_number = pair[0].trim_start_matches('(').parse::<f64>().is_ok();
        assert!(!(is_number && UNITS.contains(&pair[1].trim_end_matches([',', '.', ')']))), "{pair:?} in {text}");
    }
}

#[test]
fn what_is_made_of_times_alone_is_refused_first() {
    let folder = Folder::new();
    let trace = folder.file("trace.json");
    for (arguments, what) in [
        (&["noise", "--seconds", "100", "--trace", &trace][..], "a trace of detours"),
        (&["scale", "--check"], "what noise would cost at scale"),
    ] {
        support::assert_refused(&emulated(arguments), 1, what);
    }
    assert!(!std::path::Path::new(&trace).exists());
}

#[test]
fn noise_counts_detours_causes_and_cores() {
    let arguments = ["noise", "--all-cores", "--seconds", "0.2", "--threshold-ns", "50"];
    assert_no_times(&stdout(&emulated(&arguments)));
    let report = json(&emulated(&[&arguments[..], &["--json", "-"]].concat()));
    let found = &report["attribution"];
    assert!(found["detours"].is_u64() && found["seconds"].is_null() && found["detour_ns"].is_null(), "{found}");
    let sources = found["sources"].as_array().expect("a list");
    assert!(!sources.is_empty());
    assert!(sources.iter().all(|source| source["events"].is_u64() && source["nanoseconds"].is_null()), "{found}");
    let cores = report["cores"].as_array().expect("each core");
    assert!(cores.iter().all(|core| core["measures"][0]["events"].is_u64()), "{report}");
}

#[test]
fn a_core_is_explained_by_counts() {
    assert_no_times(&stdout(&emulated(&["why", "0", "--seconds", "0.5"])));
    let report = json(&emulated(&["why", "0", "--seconds", "0.5", "--json", "-"]));
    assert_layout("why", &report);
    assert!(report["seconds"].is_null() && report["idle_percent"].is_null(), "{report}");
    for disturbance in report["disturbances"].as_array().expect("a list") {
        assert!(disturbance["count"].is_u64() && disturbance["milliseconds"].is_null(), "{disturbance}");
    }
}

#[test]
fn a_comparison_counts_on_all_sides_and_concludes_nothing() {
    let folder = Folder::new();
    let arguments = ["compare", "noise", "--all-cores", "--seconds", "0.2", "--pairs", "1", "--threshold-ns", "50"];
    let tacet = folder.file("tacet");
    let arguments = [&arguments[..], &["--tacet", &tacet]].concat();
    let text = stdout(&emulated(&arguments));
    assert!(text.contains("counts only") && text.contains("events"), "{text}");
    let report = json(&emulated(&[&arguments[..], &["--json", "-"]].concat()));
    assert_layout("compare", &report);
    let suite = &report["suites"][0];
    let sides = suite["attribution"].as_array().expect("both sides");
    assert!(sides.iter().all(|side| side["found"]["detours"].is_u64() && side["found"]["seconds"].is_null()));
    assert!(suite["cores"].as_array().is_some_and(|cores| !cores.is_empty()), "{suite}");
    assert!(suite["cores"].to_string().contains("\"events\":"), "{suite}");
}
