//! Silence, seen by the machine: the emulator of the node logs every interrupt and exception of every
//! processor. Between two marks of a program that computes there is none in a cell, and there are
//! some on Linux.
//!
//! Runs on the host and starts the node itself: `scripts/test-partition` calls it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tacet_tests::node::tacet;
use tacet_tests::scratch::Scratch;
use tacet_tests::{Case, Language, Node, build};

/// What the log has between the marks of each run of `quiet.c` on that processor, as lines.
fn between_marks(log: &Path) -> Vec<Vec<String>> {
    let mut runs: Vec<Vec<String>> = Vec::new();
    let mut is_inside = false;
    let file = fs::File::open(log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
    for line in BufReader::new(file).split(b'\n') {
        let line = line.expect("the log can be read");
        let line = String::from_utf8_lossy(&line);
        // An exception: number, error code, processor's ring, place; rax where it is no page fault.
        let is_exception = line.contains(": v=");
        let is_mark = |number: &str| is_exception && line.contains(": v=06") && line.ends_with(number);
        if is_mark("7ace0001") {
            is_inside = true;
            runs.push(Vec::new());
        } else if is_mark("7ace0002") {
            is_inside = false;
        } else if is_inside && (is_exception || line.starts_with("Servicing hardware INT")) {
            runs.last_mut().expect("a run has begun").push(line.into_owned());
        }
    }
    assert!(!is_inside, "a run has no end in {}", log.display());
    runs
}

fn log_of_processor(trace: &Path, processor: u32) -> PathBuf {
    let threads = trace.with_extension("threads");
    let text = fs::read_to_string(&threads).unwrap_or_else(|error| panic!("{}: {error}", threads.display()));
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("cpu {processor} thread ")));
    trace.with_extension(line.unwrap_or_else(|| panic!("no processor {processor}: {text}")))
}

#[test]
fn no_interrupt_between_two_marks() {
    let (node, scratch) = (Node::take(), Scratch::new());
    let trace = scratch.path().join("trace");
    // Linux changes its own code all the time, and has every processor told of it.
    let script = "taskset -c 3 \"$1\" 2 || exit
        while sleep 0.5; do echo 1 >/proc/sys/kernel/sched_schedstats; echo 0 >/proc/sys/kernel/sched_schedstats; done &
        \"$2\" run --platform partition --cores 3-3 --memory 64M -- \"$1\" 10";
    let node_script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/node");
    let case = Case::new(node_script).arg("--trace").arg(&trace).args(["--", "sh", "-c", script, "sh"]);
    let case = case.arg(build(Language::C, "quiet.c")).arg(tacet()).limit(Duration::from_secs(300));
    let outcome = case.start_native(&node, &scratch).finish();
    assert_eq!(
        (outcome.status.code(), outcome.out().as_str()),
        (Some(0), "computing\ncomputed\ncomputing\ncomputed\n"),
        "{outcome}"
    );
    let runs = between_marks(&log_of_processor(&trace, 3));
    let [on_linux, in_cell] = &runs[..] else { panic!("two runs, not {}", runs.len()) };
    println!("on Linux {}, in the cell {} interrupts and exceptions", on_linux.len(), in_cell.len());
    assert!(on_linux.len() > 100, "Linux's own tick is in the log: {on_linux:#?}");
    assert!(in_cell.is_empty(), "{in_cell:#?}");
}
