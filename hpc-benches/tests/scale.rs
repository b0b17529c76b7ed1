//! Noise at scale: from traces to tables, plots and files.

mod support;

use std::fs;

use support::schema::assert_layout;
use support::{Folder, json_of, stdout, tacet_bench};

#[track_caller]
fn assert_refused(arguments: &[&str], status: i32, message: &str) {
    support::assert_refused(&tacet_bench(arguments), status, message);
}

/// The path of a new trace in `folder`.
fn trace(folder: &Folder, name: &str, detours: &str) -> String {
    let text = format!(
        r#"{{"schema":"tacet-bench-trace/1","side":"{name}","core":1,"seconds":0.1,"threshold_ns":500,"detours":{detours}}}"#
    );
    fs::write(folder.file(name), text).expect("the folder is writable");
    folder.file(name)
}

#[test]
fn scale_replays_traces_and_draws_what_it_found() {
    let folder = Folder::new();
    let noisy = trace(&folder, "native", "[[1000000,40000],[51000000,60000]]");
    let silent = trace(&folder, "partition", "[]");
    let (json, svg, html) = (folder.file("j"), folder.file("s"), folder.file("h"));
    let arguments = ["scale", &noisy, &silent, "--ranks", "10,1000", "--granularity", "1ms", "--iterations", "30"];
    let output = tacet_bench(&[&arguments[..], &["--json", &json, "--svg", &svg, "--html", &html]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout(&output).contains("native core 1") && stdout(&output).contains("slowdown"));
    let report: serde_json::Value = serde_json::from_str(&folder.read("j")).unwrap();
    assert_layout("scale", &report);
    let median = |point: usize| report["points"][point]["slowdown"]["median"].as_f64().unwrap();
    // 10 ranks seldom have a detour in their millisecond; some of 1000 always have one, mostly the longer.
    assert!(median(1) > 1.04 && median(1) > median(0), "{report}");
    assert!([2, 3].into_iter().all(|silent| (median(silent) - 1.0).abs() < 1e-9), "{report}");
    assert!(folder.read("s").starts_with("<svg") && folder.read("h").contains("<svg"));
}

#[test]
fn scale_replays_what_noise_has_written() {
    let folder = Folder::new();
    let file = folder.file("trace.json");
    let noise = ["noise", "--seconds", "0.4", "--threshold-ns", "100", "--trace", &file, "--json", "-"];
    let detours = json_of(&noise)["measures"][4]["summary"]["count"].as_u64().unwrap_or(0);
    assert_layout("trace", &serde_json::from_str(&folder.read("trace.json")).expect("a trace is JSON"));
    let report = json_of(&["scale", &file, "--ranks", "100", "--iterations", "10", "--json", "-"]);
    assert_eq!(report["traces"][0]["detours"].as_u64(), Some(detours), "{report}");
    assert!(report["points"][0]["slowdown"]["median"].as_f64() >= Some(1.0 - 1e-9), "{report}");
}

/// Of many ranks the slowest loses nearly the same each time: fewer iterations tell as much.
#[test]
fn scale_takes_as_many_iterations_as_it_needs() {
    let folder = Folder::new();
    let noisy = trace(&folder, "native", "[[1000000,40000],[51000000,60000]]");
    let iterations = |precision: &str| {
        let arguments = ["scale", &noisy, "--ranks", "10,100000", "--granularity", "10ms", "--precision", precision];
        let report = json_of(&[&arguments[..], &["--json", "-"]].concat());
        [0, 1].map(|point: usize| report["points"][point]["iterations"].as_u64().unwrap())
    };
    assert_eq!(iterations("0"), [100, 100]);
    let [few_ranks, many_ranks] = iterations("2");
    assert!((20..50).contains(&many_ranks) && few_ranks > 2 * many_ranks, "{few_ranks} {many_ranks}");
}

#[test]
fn scale_agrees_with_the_closed_forms() {
    let report = json_of(&["scale", "--check", "--ranks", "100", "--iterations", "100", "--json", "-"]);
    assert_layout("scale-check", &report);
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row["agrees"] == true), "{report}");
    // One exponential detour of 20 µs per phase and 100 ranks: 20 µs · H_100, H_100 = 5.187 377 5.
    assert!((rows[0]["expected_ns"].as_f64().unwrap() - 103_747.55).abs() < 0.1, "{report}");
}

#[test]
fn scale_refuses_what_it_cannot_replay() {
    let folder = Folder::new();
    let overlapping = trace(&folder, "overlapping", "[[0,1000],[500,10]]");
    assert_refused(&["scale", &overlapping], 1, "detour 1 (from 0) starts at 500 ns, in the one before it");
    assert_refused(&["scale", &folder.file("missing")], 1, "tacet-bench noise --trace FILE");
    let silent = trace(&folder, "silent", "[]");
    assert_refused(&["scale", &silent, "--svg", "/nonexistent/x"], 1, "cannot write /nonexistent/x");
    assert_refused(&["scale", &silent, "--collective", "barrier", "--bytes", "8"], 2, "carry no data");
    for wrong in [&["scale"][..], &["scale", &silent, "--ranks", "1"], &["scale", "--check", &silent]] {
        assert_eq!(tacet_bench(wrong).status.code(), Some(2), "{wrong:?}");
    }
}
