//! Load on the cores that are not measured: it works, is told, and leaves nothing behind.

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;
use support::processes::{allowed_cores, is_running, wait_until};
use support::{Folder, assert_refused_as, command, json_of};

/// What `tacet run --stats` says, in its words.
const NO_CELL_WITH_STATS: &str = r#"#!/bin/sh
case " $* " in *" --stats "*) ;; *) exit 99 ;; esac
while [ "$1" != -- ]; do shift; done; shift; "$@" || exit
printf 'tacet: cell 1: platform process\ncore 1\nlocal calls 5\ninvoluntary 7\ncall count handled\n' >&2"#;

/// Runs what comes after `--` as it is.
const AS_IT_IS: &str = r#"while [ "$1" != -- ]; do shift || exit; done; shift; exec "$@""#;

#[test]
fn all_cores_leave_none_for_load() {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").expect("proc is mounted");
    if !status.contains(&format!("Cpus_allowed_list:\t{online}")) {
        return; // Under an affinity mask some are left.
    }
    let arguments = ["compare", "noise", "--all-cores", "--load", "fork", "--tacet", "/bin/true"];
    assert_refused_as(&arguments, 2, "--load needs a core that is not measured");
}

#[test]
fn load_can_only_be_started_by_a_comparison() {
    let arguments = ["load-generator", "--kind", "memory", "--core", "0", "--parent", "1", "--dir", "/"];
    assert_refused_as(&arguments, 1, "cannot bind the load to process 1");
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
    let (mut comparison, load) = comparison_under_load(&folder.file("tacet"));
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
    let (mut comparison, load) = comparison_under_load(&folder.program(&format!("{fails_beside_load}\n{AS_IT_IS}")));
    assert_eq!(comparison.wait().expect("it is ours").code(), Some(1));
    assert!(!load.iter().any(|&process| is_running(process)));
}
