//! What disturbs a core, in words.

mod support;

use std::fs;

use support::schema::assert_layout;
use support::{json_of, stdout, tacet_bench};

#[track_caller]
fn assert_refused(arguments: &[&str], status: i32, message: &str) {
    support::assert_refused(&tacet_bench(arguments), status, message);
}

#[test]
fn a_core_is_explained_in_words_and_as_json() {
    let core = online().first().expect("a core is online").to_string();
    let output = tacet_bench(&["why", &core, "--seconds", "0.3"]);
    assert!(output.status.success());
    assert!(stdout(&output).contains(&format!("core:    {core}, watched for 0.")), "{}", stdout(&output));
    let report = json_of(&["why", &core, "--seconds", "0.3", "--json", "-"]);
    assert_layout("why", &report);
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
    assert_refused(&["why", "60000"], 2, &format!("has online; choose one of {}", list.trim()));
}

fn online() -> Vec<usize> {
    let list = fs::read_to_string("/sys/devices/system/cpu/online").expect("/sys is mounted");
    list.trim().split([',', '-']).filter_map(|core| core.parse().ok()).collect()
}
