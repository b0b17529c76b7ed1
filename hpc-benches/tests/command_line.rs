//! The program as a user meets it: what it prints, what it refuses, and its exit statuses.

mod support;

use std::fs;

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
        &["compare"],
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
    assert_refused(&["startup", "--core", "100000", "--tacet", "/bin/true"], 1, "core 100000 is not among");
}

#[test]
fn a_side_that_fails_is_named_with_its_status() {
    let short = ["compare", "noise", "--seconds", "0.05", "--pairs", "1"];
    let with_tacet = |tacet| [&short[..], &["--tacet", tacet]].concat();
    assert_refused(&with_tacet("/bin/false"), 1, "side process ended with status 1");
    assert_refused(&with_tacet("/bin/true"), 1, "side process printed no measurements");
}

#[test]
fn a_core_is_explained_in_words_and_as_json() {
    let core = online().first().expect("a core is online").to_string();
    let output = tacet_bench(&["why", &core, "--seconds", "0.3"]);
    assert!(output.status.success());
    assert!(stdout(&output).contains(&format!("core:    {core}, watched for 0.")), "{}", stdout(&output));
    let report = json_of(&["why", &core, "--seconds", "0.3", "--json", "-"]);
    assert_eq!(report["schema"], "tacet-bench-why/1");
    assert_eq!(report["core"].to_string(), core);
    assert!(report["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.3));
    let disturbances = report["disturbances"].as_array().expect("a list");
    for disturbance in disturbances {
        assert!(disturbance["words"].is_string() && disturbance["remedy"].is_string(), "{disturbance}");
    }
    let counts: Vec<u64> = disturbances.iter().filter_map(|disturbance| disturbance["count"].as_u64()).collect();
    assert!(counts.is_sorted_by(|a, b| a >= b), "{counts:?}");
}

#[test]
fn a_core_that_is_not_there_is_refused_with_the_list() {
    let list = fs::read_to_string("/sys/devices/system/cpu/online").expect("/sys is mounted");
    assert_refused(&["why", "60000"], 1, &format!("has online; choose one of {}", list.trim()));
}

fn online() -> Vec<usize> {
    let list = fs::read_to_string("/sys/devices/system/cpu/online").expect("/sys is mounted");
    list.trim().split([',', '-']).filter_map(|core| core.parse().ok()).collect()
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
    assert_eq!(report["schema"], "tacet-bench-scale/1");
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
    let report = json_of(&["scale", &file, "--ranks", "100", "--iterations", "10", "--json", "-"]);
    assert_eq!(report["traces"][0]["detours"].as_u64(), Some(detours), "{report}");
    assert!(report["points"][0]["slowdown"]["median"].as_f64() >= Some(1.0 - 1e-9), "{report}");
}

#[test]
fn scale_agrees_with_the_closed_forms() {
    let report = json_of(&["scale", "--check", "--ranks", "100", "--iterations", "100", "--json", "-"]);
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
