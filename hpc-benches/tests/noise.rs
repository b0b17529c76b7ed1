//! The suite noise as a user meets it: its cores, its traces, and load that leaves nothing behind.

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Folder, command, json, json_of, measure, tacet_bench};

const DEADLINE: Duration = Duration::from_secs(60);

/// Wrong usage has the usage below the message.
#[track_caller]
fn assert_refused(arguments: &[&str], status: i32, message: &str) {
    let output = tacet_bench(arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{errors}");
    assert!(errors.contains(message), "{errors}");
}

/// Runs the command in no cell: enough for what is tested here.
const NO_CELL: &str = r#"#!/bin/sh
while [ "$1" != -- ]; do shift; done; shift; exec "$@""#;

/// What `tacet run --stats` says, in its words.
const NO_CELL_WITH_STATS: &str = r#"#!/bin/sh
case " $* " in *" --stats "*) ;; *) exit 99 ;; esac
while [ "$1" != -- ]; do shift; done; shift; "$@" || exit
printf 'tacet: cell 1: platform process\ncore 1\nlocal calls 5\ninvoluntary 7\ncall count handled\n' >&2"#;

fn allowed_cores() -> Vec<u64> {
    let status = fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("Linux lists CPUs");
    let number = |text: &str| text.trim().parse::<u64>().expect("a CPU's number");
    list.trim()
        .split(',')
        .flat_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            number(first)..=number(last)
        })
        .collect()
}

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
    assert_refused(&["noise", "--core", "100000", "--seconds", "0.1"], 2, "core 100000 is not among the cores");
    assert_refused(&["noise", "--core", "0", "--all-cores"], 2, "--all-cores");
    assert_refused(&["noise", "--seconds", "0.001"], 2, "--quantum-us");
    assert_refused(&["noise", "--label", "x"], 2, "--trace");
    assert_refused(&["noise", "--trace", "/nonexistent/x", "--seconds", "100"], 1, "cannot write /nonexistent/x");
    assert_refused(&["compare", "noise", "--load", "heat", "--tacet", "/bin/true"], 2, "heat");
    let io = ["compare", "noise", "--load", "io", "--load-dir", "/nonexistent/x", "--tacet", "/bin/true"];
    assert_refused(&io, 1, "/nonexistent/x");
}

#[test]
fn all_cores_leave_none_for_load() {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").expect("proc is mounted");
    if !status.contains(&format!("Cpus_allowed_list:\t{online}")) {
        return; // Under an affinity mask some are left.
    }
    let arguments = ["compare", "noise", "--all-cores", "--load", "fork", "--tacet", "/bin/true"];
    assert_refused(&arguments, 2, "--load needs a core that is not measured");
}

#[test]
fn load_can_only_be_started_by_a_comparison() {
    let arguments = ["load-generator", "--kind", "memory", "--core", "0", "--parent", "1", "--dir", "/"];
    assert_refused(&arguments, 1, "cannot bind the load to process 1");
}

#[test]
fn load_comes_second_and_all_sides_tell_who_disturbed_them() {
    if allowed_cores().len() < 2 {
        return; // Nothing to put load on.
    }
    let folder = Folder::new();
    let tacet = folder.program(NO_CELL_WITH_STATS);
    let report = json_of(&[
        "compare",
        "noise",
        "--pairs",
        "1",
        "--seconds",
        "0.2",
        "--load",
        "io,network,memory,fork",
        "--load-dir",
        env!("CARGO_MANIFEST_DIR"),
        "--tacet",
        &tacet,
        "--json",
        "-",
    ]);
    let suites = report["suites"].as_array().expect("suites");
    let names: Vec<_> = suites.iter().filter_map(|suite| suite["suite"].as_str()).collect();
    assert_eq!(names, ["noise", "noise-loaded"]);
    assert_eq!(suites[0]["load"], Value::Null);
    let load = &suites[1]["load"];
    assert_eq!(load["kinds"], serde_json::json!(["io", "network", "memory", "fork"]));
    let measured = report["core"].as_u64().expect("a core");
    assert!(load["cores"].as_array().is_some_and(|cores| !cores.is_empty() && !cores.contains(&measured.into())));
    for side in 0..2 {
        let used = load["cpu_seconds_per_second"][side][1].as_f64().unwrap_or(0.0);
        assert!(used > 0.01, "{load}");
        let found = &suites[1]["attribution"][side]["found"];
        let of_cell = found["sources"].as_array().into_iter().flatten().find(|source| source["kind"] == "cell");
        match side {
            0 => assert_eq!(of_cell, None),
            _ => assert_eq!(
                of_cell.map(|source| (&source["name"], &source["events"])),
                Some((&"involuntary".into(), &7.into()))
            ),
        }
    }
}

#[test]
fn all_cores_are_compared_core_by_core() {
    let folder = Folder::new();
    let tacet = folder.program(NO_CELL);
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

/// Processes of `parent` that make load.
fn generators(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("proc is mounted");
    let is_generator = |process: u32| {
        let folder = Path::new("/proc").join(process.to_string());
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        let parent_of: u32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        let command = fs::read(folder.join("cmdline")).ok()?;
        let is_load = command.split(|&byte| byte == 0).nth(1) == Some(b"load-generator");
        (parent_of == parent && is_load).then_some(process)
    };
    processes.filter_map(|entry| is_generator(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect()
}

/// A zombie has ended too.
fn is_running(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A comparison that has come to its second suite: its load works.
fn comparison_under_load(tacet: &str) -> (Child, Vec<u32>) {
    let arguments = ["compare", "noise", "--pairs", "1", "--seconds", "0.5", "--load", "memory,network,fork"];
    let comparison = command(&arguments)
        .args(["--tacet", tacet])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("tacet-bench starts");
    let mut found = Vec::new();
    wait_until("three kinds of load on each other core", || {
        found = generators(comparison.id());
        found.len() >= 3 * (allowed_cores().len() - 1)
    });
    (comparison, found)
}

#[test]
fn load_ends_when_the_comparison_is_killed() {
    if allowed_cores().len() < 2 {
        return; // Nothing to put load on.
    }
    let folder = Folder::new();
    let (mut comparison, load) = comparison_under_load(&folder.program(NO_CELL));
    comparison.kill().expect("it is ours");
    let status = comparison.wait().expect("it is ours");
    assert_eq!(status.signal(), Some(9));
    wait_until("Linux ends the load", || !load.iter().any(|&process| is_running(process)));
}

#[test]
fn load_ends_when_a_side_fails() {
    if allowed_cores().len() < 2 {
        return; // Nothing to put load on.
    }
    let folder = Folder::new();
    let fails_beside_load = "#!/bin/sh
if [ -e \"$0.once\" ]; then sleep 1; exit 7; fi; : > \"$0.once\"";
    let (mut comparison, load) = comparison_under_load(&folder.program(&format!("{fails_beside_load}\n{NO_CELL}")));
    assert_eq!(comparison.wait().expect("it is ours").code(), Some(1));
    assert!(!load.iter().any(|&process| is_running(process)));
}
