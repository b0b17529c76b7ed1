//! What `tacet run` says about a run: `--stats`, `--dry-run`, `--log`, and help.

use tacet_tests::scratch::Scratch;
use tacet_tests::{Case, Language, Node, build, node};

#[test]
fn stats_count_calls() {
    let case = Case::new("/bin/cat").arg("file").file("file", "text\n");
    let outcome = case.options(["--stats"]).cell();
    assert_eq!(outcome.status.code(), Some(0), "{outcome}");
    assert_eq!(outcome.out(), "text\n", "statistics leave standard output alone: {outcome}");
    let report = outcome.err();
    for call in ["read", "write", "openat", "mmap"] {
        let is_counted = |line: &str| {
            line.split_whitespace().any(|word| word == call) && line.chars().any(|letter| ('1'..='9').contains(&letter))
        };
        assert!(report.lines().any(is_counted), "{call} is counted: {outcome}");
    }
}

#[test]
fn stats_name_unsupported_calls() {
    let case = Case::new(build(Language::C, "unsupported.c")).arg("bpf").options(["--stats"]);
    let outcome = case.cell();
    let is_named = |line: &&str| line.contains("bpf") && !line.starts_with("tacet: ");
    assert!(outcome.err().lines().any(|line| is_named(&line) && line.contains('3')), "{outcome}");
}

#[test]
fn stats_keep_the_status() {
    let outcome = Case::new("/bin/sh").args(["-c", "exit 7"]).options(["--stats"]).cell();
    assert_eq!(outcome.status.code(), Some(7), "{outcome}");
    assert!(!outcome.stderr.is_empty(), "{outcome}");
}

/// A dry run says what it would take, and takes and runs nothing.
#[test]
fn dry_run() {
    let (node, scratch) = (Node::take(), Scratch::new());
    let case = Case::new("/usr/bin/touch").arg("made").options(["--dry-run"]);
    let outcome = case.start_cell(&node, &scratch).finish();
    assert_eq!(outcome.status.code(), Some(0), "{outcome}");
    assert!(!scratch.path().join("made").exists(), "a dry run runs nothing: {outcome}");
    let text = (outcome.out() + &outcome.err()).to_lowercase();
    for word in ["platform", "process", "core", "memory"] {
        assert!(text.contains(word), "{word}: {outcome}");
    }
}

#[test]
fn dry_run_refuses_what_a_run_refuses() {
    let missing = Case::new("/no/such/program").options(["--dry-run"]).cell();
    assert_eq!(missing.status.code(), Some(127), "{missing}");
    let cores = (node::core_count() + 1).to_string();
    let greedy = Case::new("/bin/true").options(["--dry-run", "--cores", &cores]).cell();
    assert_eq!(greedy.status.code(), Some(125), "{greedy}");
}

/// `auto` says which platform it took, and why not a better one.
#[test]
fn log_explains_the_platform() {
    let outcome = Case::new("/bin/echo").arg("text").options(["--log", "info"]).cell();
    assert_eq!((outcome.status.code(), outcome.out().as_str()), (Some(0), "text\n"), "{outcome}");
    for platform in ["process", "partition", "kvm"] {
        assert!(outcome.err().contains(platform), "{platform}: {outcome}");
    }
}

#[test]
fn a_quiet_run_says_nothing() {
    for options in [&[][..], &["--platform", "process"], &["--platform", "auto"]] {
        let outcome = Case::new("/bin/true").options(options.iter().copied()).cell();
        assert!(outcome.stdout.is_empty() && outcome.stderr.is_empty(), "{outcome}");
    }
}

#[test]
fn help_and_version() {
    let tacet = node::tacet();
    let help = Case::new(&tacet).args(["run", "--help"]).native();
    assert_eq!(help.status.code(), Some(0), "{help}");
    for option in ["--platform", "--cores", "--memory", "--numa", "--stats", "--dry-run", "--log"] {
        assert!(help.out().contains(option), "{option}: {help}");
    }
    let version = Case::new(&tacet).arg("--version").native();
    assert_eq!(version.status.code(), Some(0), "{version}");
    assert!(version.out().starts_with("tacet "), "{version}");
}
