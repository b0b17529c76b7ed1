//! Core dumps, with all threads, read by gdb on Linux.

use std::fs;
use std::path::Path;
use std::process::Command;
use tacet_tests::scratch::Scratch;
use tacet_tests::{Case, Language, Node, Outcome, Running, build};

const PATTERN: &str = "/proc/sys/kernel/core_pattern";

/// As large as they may become: who may not raise the hard limit can't ask for more than that.
fn case() -> Case {
    Case::script("ulimit -S -c \"$(ulimit -H -c)\"; run \"$1\"").arg(build(Language::C, "core.c"))
}

/// Runs the program; gives how it ended and what gdb makes of its core dump.
fn dumped(start: impl Fn(&Case, &Node, &Scratch) -> Running, node: &Node) -> (Outcome, Vec<String>) {
    let scratch = Scratch::new();
    let outcome = start(&case(), node, &scratch).finish();
    let entries = fs::read_dir(scratch.path()).expect("own directory").flatten();
    let mut cores = entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("/core"));
    let core = cores.next().unwrap_or_else(|| panic!("no core dump in {}: {outcome}", scratch.path().display()));
    (outcome, debugger(&core))
}

/// What gdb says of threads, calls, variables and libraries, without numbers that differ from run to run.
fn debugger(core: &Path) -> Vec<String> {
    let mut gdb = Command::new("gdb");
    gdb.args([
        "-batch",
        "-nx",
        "-ex",
        "bt",
        "-ex",
        "info threads",
        "-ex",
        "thread apply all bt",
        "-ex",
        "print counter",
    ]);
    gdb.args([
        "-ex",
        "print fraction",
        "-ex",
        "frame function crash",
        "-ex",
        "print copy",
        "-ex",
        "info sharedlibrary",
    ]);
    let output = gdb.arg(build(Language::C, "core.c")).arg(core).output().expect("gdb is there");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let tells = |line: &&str| {
        let is_frame = line.starts_with('#')
            && ["crash (", "main (", "wait_for_ever (", "compute ("].iter().any(|f| line.contains(f));
        is_frame || line.starts_with('$') || line.contains("libc.so.6") || line.contains("Program terminated")
    };
    let without_addresses = |line: &str| {
        let words = line.split_whitespace().filter(|word| !word.contains("0x"));
        words.collect::<Vec<_>>().join(" ")
    };
    let mut lines: Vec<String> = text.lines().filter(tells).map(without_addresses).collect();
    // In the order of threads' numbers, which differ.
    lines.sort();
    lines
}

#[test]
fn debuggers_read_them() {
    if fs::read_to_string(PATTERN).expect("Linux tells").starts_with('|') {
        return piped();
    }
    let node = Node::take();
    let (native, expected) = dumped(Case::start_native, &node);
    let (cell, seen) = dumped(Case::start_cell, &node);
    assert_eq!(cell.shell_status(), native.shell_status(), "{native}\n{cell}");
    assert!(cell.err().contains("core dumped to core"), "{cell}");
    for what in ["crash (", "wait_for_ever", "compute", "$1 = 4712", "$2 = 2.5", "SIGABRT", "a text on the heap"] {
        assert!(expected.iter().any(|line| line.contains(what)), "{what}: {expected:#?}");
    }
    assert_eq!(seen, expected);
}

/// Where Linux pipes them to a program of its own, they are files all the same, and it is said why.
fn piped() {
    let outcome = case().cell();
    assert_eq!(outcome.shell_status(), 128 + 6, "{outcome}");
    assert!(outcome.err().contains("core dumped to core") && outcome.err().contains("core_pattern"), "{outcome}");
}

#[test]
fn a_limit_of_zero_is_kept_to() {
    let (node, scratch) = (Node::take(), Scratch::new());
    let case = Case::script("ulimit -c 0; run \"$1\"").arg(build(Language::C, "core.c"));
    let outcome = case.start_cell(&node, &scratch).finish();
    assert_eq!(outcome.shell_status(), 128 + 6, "{outcome}");
    assert!(!outcome.err().contains("core dumped"), "{outcome}");
    assert!(!fs::read_dir(scratch.path()).expect("own directory").flatten().any(|entry| entry.file_name() == "core"));
}

#[test]
fn a_small_limit_cuts_them() {
    if fs::read_to_string(PATTERN).expect("Linux tells").starts_with('|') {
        return;
    }
    let (node, scratch) = (Node::take(), Scratch::new());
    // Units of 1024 bytes.
    let case = Case::script("ulimit -c 40; run \"$1\"").arg(build(Language::C, "core.c"));
    let outcome = case.start_cell(&node, &scratch).finish();
    let entries = fs::read_dir(scratch.path()).expect("own directory").flatten();
    let core = entries.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("/core"));
    let len = core.expect("a core dump").metadata().expect("own file").len();
    assert_eq!(len, 40 << 10, "{outcome}");
}
