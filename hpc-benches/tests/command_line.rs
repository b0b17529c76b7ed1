//! The program as a user meets it: what it prints, what it refuses, and its exit statuses.

mod support;

use support::{Folder, command, json, json_of, measure, stdout, tacet_bench};

#[track_caller]
fn assert_refused(arguments: &[&str], status: i32, message: &str) {
    support::assert_refused(&tacet_bench(arguments), status, message);
}

fn names(measures: &serde_json::Value) -> Vec<&str> {
    measures.as_array().into_iter().flatten().filter_map(|measure| measure["name"].as_str()).collect()
}

#[test]
fn noise_reports_its_measures_and_its_machine() {
    let report = json_of(&["noise", "--seconds", "0.1", "--json", "-"]);
    assert_eq!(report["schema"], "tacet-bench-run/1");
    let expected =
        ["fwq", "fwq-loss", "ftq", "ftq-loss", "selfish-detour", "selfish-loss", "hourglass", "hourglass-max"];
    assert_eq!(names(&report["measures"]), expected);
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
fn memory_measures_what_there_is_and_says_what_there_is_not() {
    let sizes = ["--array-mib", "1", "--set-mib", "1", "--chase-mib", "1", "--touch-mib", "2"];
    let report = json_of(&[&["memory", "--json", "-"], &sizes[..]].concat());
    let (measured, missing) = (names(&report["measures"]), names(&report["not_measured"]));
    for name in ["first-touch-4k", "first-touch-thp", "stream-triad", "random-access", "chase-4k", "chase-1m"] {
        assert!(measured.contains(&name), "{name} is not in {measured:?}");
    }
    // What the node has of pages differs; a page size is measured, or missing with a reason.
    for name in ["pages-4k", "pages-thp", "pages-2m", "pages-1g", "first-touch-2m", "first-touch-1g"] {
        assert!(measured.contains(&name) != missing.contains(&name), "{name}");
    }
    assert_eq!(report["settings"]["array_bytes"], 1048576.0);
}

#[test]
fn a_table_is_printed_beside_a_json_file() {
    let folder = Folder::new();
    let output = tacet_bench(&["calls", "--only", "getppid", "--json", &folder.file("calls.json")]);
    assert!(stdout(&output).contains("getppid"));
    let json = folder.read("calls.json");
    assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
}

#[test]
fn startup_compares_both_sides_in_turn() {
    let folder = Folder::new();
    let report = json_of(&["startup", "--runs", "5", "--tacet", &folder.file("tacet"), "--json", "-"]);
    assert_eq!(report["schema"], "tacet-bench-compare/1");
    assert_eq!(report["pairs"], 5);
    let suite = &report["suites"][0];
    for name in ["startup", "exec-to-main", "teardown", "exec-to-main-static", "teardown-static"] {
        let sides = &measure(&suite["measures"], name)["sides"];
        assert_eq!(sides[0]["side"], "native");
        assert_eq!(sides[0]["values"]["runs"].as_array().map(Vec::len), Some(6), "{name}: {suite}");
        assert_eq!(sides[1]["side"], "process");
        assert_eq!(sides[1]["values"]["runs"].as_array().map(Vec::len), Some(5), "{name}");
        assert!(sides[1]["effect"]["verdict"].is_string());
        assert!(sides[0]["values"]["median"].as_f64() > Some(1000.0), "{name} takes longer than a microsecond");
    }
    assert!(measure(&suite["measures"], "memory")["sides"][0]["values"]["median"].as_f64() > Some(4096.0));
    // The stand-in has become the program: there is nothing beside it.
    let beside = measure(&suite["measures"], "memory-cell")["sides"][1]["values"]["median"].as_f64().expect("measured");
    assert!(beside.abs() < 100_000.0, "{beside}");
    assert!(names(&suite["not_measured"]).contains(&"cores-back"));
}

/// One thread waits for nobody: the set is what is looked at, not its numbers.
#[test]
fn openmp_measures_the_whole_set() {
    let folder = Folder::new();
    let output = command(&["compare", "openmp", "--pairs", "1", "--tacet", &folder.file("tacet"), "--json", "-"])
        .env("OMP_NUM_THREADS", "1")
        .output()
        .expect("tacet-bench starts");
    let report = json(&output);
    let suite = &report["suites"][0];
    let names = names(&suite["measures"]);
    let of = |prefix: &str| names.iter().filter(|name| name.starts_with(prefix)).count();
    // Chunks of 1 to 128; arrays of 1 to 9^5.
    assert_eq!([of("omp-static-"), of("omp-dynamic-"), of("omp-guided-")], [8, 8, 8], "{names:?}");
    assert_eq!([of("omp-private-"), of("omp-firstprivate-"), of("omp-copyprivate-")], [6, 6, 6], "{names:?}");
    let single = "parallel for parallel-for barrier single critical lock ordered atomic reduction static \
                  task-parallel task-master task-busy task-undeferred task-barrier task-nested task-tree task-leaves";
    for name in single.split_whitespace() {
        let name = format!("omp-{name}");
        let values = &measure(&suite["measures"], &name)["sides"][0]["values"];
        assert!(values["median"].as_f64() >= Some(1.0), "{name}: {values}");
    }
}

#[test]
fn startup_says_what_it_has_no_compiler_for() {
    let folder = Folder::new();
    let missing = ["--startup-cc", "/nonexistent/cc", "--mpicc", "/nonexistent/mpicc"];
    let output = folder.tacet_bench(&[&["startup", "--runs", "1", "--json", "-"], &missing[..]].concat());
    let report = json(&output);
    let suite = &report["suites"][0];
    assert_eq!(names(&suite["measures"]), ["startup"]);
    let reasons = suite["not_measured"].to_string();
    assert!(reasons.contains("or give --startup-cc"), "{reasons}");
}

#[test]
fn wrong_usage_is_status_2() {
    for arguments in [
        &["--no-such-option"][..],
        &["compare", "nois"],
        &["compare", "noise", "--pairs", "0"],
        &["noise", "--seconds", "0"],
        &["noise", "--seconds", "x"],
        &["why"],
        &["why", "x"],
        &["why", "0", "--seconds", "0"],
        &["startup", "--baseline", "tuned", "--tacet", "/bin/true"],
        &["startup", "--baseline", "none", "--tacet", "/bin/true"],
        &["calls", "--only", "getpip"],
        &["memory", "--part", "chas"],
        &["memory", "--set-mib", "3"],
        &["compare", "memory", "--chase-mib", "3", "--tacet", "/bin/true"],
        &["compare", "apps", "--app-size", "8", "--tacet", "/bin/true"],
        &["mpi", "--mpi-ranks", "1"],
        &["mpi", "--mpi-seconds", "0"],
        &["mpi", "--program", "/bin/true", "--mpicc", "mpicc"],
        &["compare", "calls", "--only", "getpip", "--tacet", "/bin/true"],
    ] {
        assert_eq!(tacet_bench(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn negative_lengths_are_refused_in_words() {
    let refused = |arguments: &[&str], message: &str| {
        let output = tacet_bench(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains(message), "{errors}");
    };
    refused(&["compare", "noise", "--seconds", "-1", "--tacet", "/bin/true"], "must be positive numbers");
    refused(&["noise", "--threshold-ns", "-5"], "must be positive numbers");
    refused(&["why", "0", "--seconds", "-2"], "must be a positive number");
    refused(&["mpi", "--mpi-seconds", "-3"], "not a positive number of seconds");
    refused(&["compare", "noise", "--pairs", "-2"], "invalid value '-2' for '--pairs");
    refused(&["scale", "t", "--granularity", "-1ms"], "is not a number of zero or more");
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
    let arguments = ["compare", "apps", "--mpicc", "/nonexistent/mpicc", "--tacet", "/bin/true"];
    assert_refused(&arguments, 127, "install an MPI library");
}

#[test]
fn a_core_out_of_reach_is_refused() {
    assert_refused(&["startup", "--core", "100000", "--tacet", "/bin/true"], 2, "core 100000 is not among");
}

#[test]
fn a_side_that_fails_is_named_with_its_status() {
    let short = ["compare", "noise", "--seconds", "0.05", "--pairs", "1"];
    let with_tacet = |tacet| [&short[..], &["--tacet", tacet]].concat();
    assert_refused(&with_tacet("/bin/false"), 1, "side process ended with status 1");
    assert_refused(&with_tacet("/bin/true"), 1, "side process printed no measurements");
}

#[test]
fn calls_show_cycles_where_asked_for_and_have_them_in_json() {
    let with = stdout(&tacet_bench(&["calls", "--only", "getpid,futex-wake", "--cycles"]));
    let without = stdout(&tacet_bench(&["calls", "--only", "getpid"]));
    assert!(with.contains(" cycles ") && with.contains("futex-wake"), "{with}");
    assert!(!without.contains("cycles") && without.contains("p99.9"), "{without}");
    let report = json_of(&["calls", "--only", "getpid", "--json", "-"]);
    let (measure, mhz) = (&report["measures"][0], report["settings"]["tsc_mhz"].as_f64().unwrap());
    let ratio = measure["cycles"]["median"].as_f64().unwrap() / measure["summary"]["median"].as_f64().unwrap();
    assert!((ratio / (mhz / 1000.0) - 1.0).abs() < 1e-9, "{report}");
}
