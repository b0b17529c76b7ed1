//! A comparison that is ended early leaves nothing behind: neither programs nor files.

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use support::processes::{is_running, wait_until};
use support::{Folder, command, tacet_bench};

/// A cell whose program tells its number and never ends by itself.
const ENDLESS: &str = "#!/bin/sh
[ \"$1\" = run ] || exit 0
echo $$ > \"$TMPDIR/process\"
while :; do sleep 1; done
";

/// A comparison in the middle of its first cell, with its temporary files in the folder; and the cell's process.
fn started(folder: &Folder) -> (Child, u32) {
    let tacet = folder.program(ENDLESS);
    let temporary = folder.file("temporary");
    fs::create_dir(&temporary).expect("the folder can be written");
    let child = command(&["startup", "--runs", "1", "--tacet", &tacet])
        .env("TMPDIR", &temporary)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("tacet-bench starts");
    let told = || fs::read_to_string(Path::new(&temporary).join("process")).ok()?.trim().parse::<u32>().ok();
    wait_until("a cell starts", || told().is_some());
    let process = told().expect("it was told");
    fs::remove_file(Path::new(&temporary).join("process")).expect("it is there");
    assert!(!left(folder).is_empty(), "programs were compiled");
    (child, process)
}

fn left(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(folder.file("temporary")).expect("it is there").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn signal(process: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
    assert!(status.expect("kill is there").success());
}

#[test]
fn a_signal_ends_the_program_and_removes_what_was_compiled() {
    for (name, number) in [("TERM", 15), ("INT", 2), ("HUP", 1)] {
        let folder = Folder::new();
        let (mut child, process) = started(&folder);
        signal(child.id(), name);
        assert_eq!(child.wait().expect("it is ours").signal(), Some(number), "the signal is the status");
        assert_eq!(left(&folder), Vec::<String>::new(), "after {name}");
        wait_until("the cell ends", || !is_running(process));
    }
}

#[test]
fn what_a_killed_comparison_left_the_next_one_removes() {
    let folder = Folder::new();
    let (mut child, process) = started(&folder);
    signal(child.id(), "KILL");
    child.wait().expect("it is ours");
    signal(process, "KILL");
    assert!(!left(&folder).is_empty());
    // Refused after it has looked around.
    let temporary = folder.file("temporary");
    let next = command(&["startup", "--tacet", "/nonexistent/tacet"]).env("TMPDIR", &temporary).output();
    assert_eq!(next.expect("tacet-bench starts").status.code(), Some(127));
    assert_eq!(left(&folder), Vec::<String>::new());
    assert!(tacet_bench(&["--version"]).status.success());
}
