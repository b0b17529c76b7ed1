//! The examination as a whole.

use super::*;
use crate::node::tests::Fixture;

fn options(json: bool, config: Option<PathBuf>) -> Doctor {
    Doctor { json, config }
}

/// The few files without which no platform runs a cell.
fn node() -> Fixture {
    let root = Fixture::new();
    let user = nix::unistd::geteuid();
    root.file("proc/self/status", &format!("Uid:\t0\t{user}\t0\t0\nCpus_allowed_list:\t0-1\nSeccomp:\t0\n"));
    root.file(
        "proc/self/limits",
        "Max open files 1024 4096\nMax address space unlimited unlimited\nMax file size unlimited unlimited\n",
    );
    root.file("proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n");
    root.file("proc/sys/kernel/seccomp/actions_avail", "trap allow\n");
    root.file("proc/sys/vm/overcommit_memory", "0\n");
    root.file("sys/devices/system/cpu/online", "0-1\n");
    root.file("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n");
    let ledger = root.path().join(place_of_ledger());
    std::fs::create_dir_all(ledger.parent().expect("below the root")).expect("own directory");
    root
}

#[test]
fn process_alone_is_enough() {
    let root = node();
    let (text, status) = doctor(&options(false, None), root.path()).expect("no configuration");
    assert_eq!(status, 0, "{text}");
    for words in ["partition  no", "kvm        no", "process    yes        all met", "--platform auto takes process."] {
        assert!(text.contains(words), "{words:?} in {text}");
    }
    assert!(text.lines().filter(|line| !line.contains("-> ")).all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn a_need_of_all_platforms_stops_all() {
    let root = node();
    root.file("proc/self/limits", "Max open files 64 64\n");
    let (text, status) = doctor(&options(false, None), root.path()).expect("no configuration");
    assert_eq!(status, NO_PLATFORM, "{text}");
    assert!(text.contains("process    no") && text.contains("missing: open files"), "{text}");
}

#[test]
fn machines_get_the_same() {
    let root = node();
    let (text, status) = doctor(&options(true, None), root.path()).expect("no configuration");
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((status, &value["can_run"], &value["auto"]["platform"]), (0, &json!(true), &json!("process")));
    assert_eq!(value["auto"]["passed_over"][0]["platform"], json!("partition"));
    let names: Vec<&Value> =
        value["platforms"].as_array().expect("a list").iter().map(|one| &one["platform"]).collect();
    assert_eq!(names, ["partition", "kvm", "process"]);
    let check = &value["platforms"][2]["checks"][0];
    assert_eq!(
        (&check["check"], &check["verdict"], &check["cure"]),
        (&json!("seccomp filters"), &json!("ok"), &Value::Null)
    );
}

#[test]
fn a_configuration_that_can_not_be_used() {
    let root = node();
    let wrong = root.file(crate::config::PLACE, "[partition]\nautos = true\n");
    let (text, _) = doctor(&options(false, None), root.path()).expect("is part of the examination");
    assert!(text.contains("note     configuration") && text.contains("`autos`"), "{text}");
    assert!(text.contains("takes nothing until"), "{text}");
    let refused = doctor(&options(false, Some(wrong.clone())), root.path()).expect_err("was named");
    assert!(refused.to_string().contains("line 2"), "{refused}");
    assert!(choose(Platform::Auto, root.path()).is_err());
    std::fs::write(&wrong, "[partition]\nauto = true\n").expect("own file");
    let (text, status) = doctor(&options(false, Some(wrong)), root.path()).expect("in order");
    assert!(status == 0 && text.contains("may be taken without being asked for"), "{text}");
}

#[test]
fn named_platforms_are_taken_or_refused() {
    let root = node();
    let choice = choose(Platform::Process, root.path()).expect("built");
    assert_eq!(choice.to_string(), "process");
    assert_eq!(choose(Platform::Auto, root.path()).expect("no configuration").platform, Platform::Process);
    assert!(matches!(choose(Platform::Kvm, root.path()), Err(Error::NotBuilt(Platform::Kvm))));
}

#[test]
fn nothing_to_read_is_no_panic() {
    let root = Fixture::new();
    let (text, status) = doctor(&options(false, None), root.path()).expect("no configuration");
    assert_eq!(status, NO_PLATFORM, "{text}");
}
