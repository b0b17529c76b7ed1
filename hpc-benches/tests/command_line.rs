//! The program as a user meets it: what it prints, what it refuses, and its exit statuses.

use std::process::{Command, Output};

fn tacet_bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tacet-bench")).args(arguments).output().expect("tacet-bench starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asserts status and a one-line message with this in it.
#[track_caller]
fn assert_refused(arguments: &[&str], status: i32, message: &str) {
    let output = tacet_bench(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{errors}");
    assert!(errors.contains(message), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert_eq!(stdout(&output), "");
}

fn json_of(arguments: &[&str]) -> serde_json::Value {
    let output = tacet_bench(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("standard output is JSON")
}

fn names(measures: &serde_json::Value) -> Vec<&str> {
    measures.as_array().into_iter().flatten().filter_map(|measure| measure["name"].as_str()).collect()
}

#[test]
fn noise_reports_its_measures_and_its_machine() {
    let report = json_of(&["noise", "--seconds", "0.1", "--json", "-"]);
    assert_eq!(report["schema"], "tacet-bench-run/1");
    assert_eq!(names(&report["measures"]), ["fwq", "fwq-loss", "selfish-detour", "selfish-loss"]);
    assert!(report["environment"]["date"].is_string());
    assert!(report["environment"]["command_line"].is_array());
}

#[test]
fn calls_take_what_is_asked_for_and_name_what_is_missing() {
    let report = json_of(&["calls", "--only", "getppid,write-1,ring-roundtrip", "--json", "-"]);
    assert_eq!(names(&report["measures"]), ["getppid", "write-1"]);
    assert_eq!(names(&report["not_measured"]), ["ring-roundtrip"]);
}

#[test]
fn a_table_is_printed_beside_a_json_file() {
    let path = std::env::temp_dir().join(format!("tacet-bench-test-{}.json", std::process::id()));
    let file = path.to_string_lossy();
    let output = tacet_bench(&["calls", "--only", "getppid", "--json", &file]);
    let json = std::fs::read_to_string(&path).unwrap_or_default();
    let _ = std::fs::remove_file(&path);
    assert!(output.status.success());
    assert!(stdout(&output).contains("getppid"));
    assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
}

/// `/bin/true` stands for a tacet that starts nothing: enough to time starts.
#[test]
fn startup_compares_both_sides_in_turn() {
    let report = json_of(&["startup", "--runs", "5", "--tacet", "/bin/true", "--json", "-"]);
    assert_eq!(report["schema"], "tacet-bench-compare/1");
    assert_eq!(report["pairs"], 5);
    let sides = &report["suites"][0]["measures"][0]["sides"];
    assert_eq!(sides[0]["side"], "native");
    assert_eq!(sides[0]["values"]["runs"].as_array().map(Vec::len), Some(6));
    assert_eq!(sides[1]["side"], "process");
    assert_eq!(sides[1]["values"]["runs"].as_array().map(Vec::len), Some(5));
    assert!(sides[1]["effect"]["verdict"].is_string());
}

#[test]
fn wrong_usage_is_status_2() {
    for arguments in [
        &["--no-such-option"][..],
        &["compare"],
        &["compare", "nois"],
        &["compare", "noise", "--pairs", "0"],
        &["noise", "--seconds", "0"],
        &["noise", "--seconds", "x"],
        &["calls", "--only", "getpip"],
        &["compare", "calls", "--only", "getpip", "--tacet", "/bin/true"],
    ] {
        assert_eq!(tacet_bench(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn an_unwritable_file_is_told_before_measuring() {
    let arguments = ["compare", "noise", "--seconds", "100", "--tacet", "/bin/true", "--json", "/nonexistent/x"];
    assert_refused(&arguments, 1, "cannot write /nonexistent/x: No such file or directory");
}

#[test]
fn a_missing_tacet_is_status_127() {
    assert_refused(&["compare", "noise", "--tacet", "/nonexistent/tacet"], 127, "/nonexistent/tacet");
}

#[test]
fn a_missing_mpi_is_status_127() {
    let arguments = ["mpi", "--mpicc", "/nonexistent/mpicc", "--tacet", "/bin/true"];
    assert_refused(&arguments, 127, "install an MPI library");
}

#[test]
fn a_core_out_of_reach_is_refused() {
    assert_refused(&["startup", "--core", "100000", "--tacet", "/bin/true"], 1, "core 100000 is not among");
}

#[test]
fn a_side_that_fails_is_named_with_its_status() {
    let short = ["compare", "noise", "--seconds", "0.05", "--pairs", "1"];
    let with_tacet = |tacet| [&short[..], &["--tacet", tacet]].concat();
    assert_refused(&with_tacet("/bin/false"), 1, "side process ended with status 1");
    assert_refused(&with_tacet("/bin/true"), 1, "side process printed no measurements");
}
