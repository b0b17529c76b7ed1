//! Signals that a program sends itself, and signals from outside that arrive at `tacet`.

use nix::sys::signal::Signal::{self, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use tacet_tests::node::Holdings;
use tacet_tests::scratch::Scratch;
use tacet_tests::{Case, Language, Node, SETTLE_LIMIT, build, platform, poll_until, process};

tacet_tests::sections!("signals.c": raise, mask, altstack, frame, flags, interrupt, sleep, tick, threads, interval, by_thread);

fn dies(how: &str, signal: Signal) {
    let compared = Case::new(build(Language::C, "signals.c")).arg(how).assert_same();
    assert_eq!(compared.native.status.signal(), Some(signal as i32), "{}", compared.native);
}

#[test]
fn die_segv() {
    dies("die_segv", Signal::SIGSEGV);
}

#[test]
fn die_term() {
    dies("die_term", SIGTERM);
}

#[test]
fn die_kill() {
    dies("die_kill", SIGKILL);
}

#[test]
fn die_usr1() {
    dies("die_usr1", SIGUSR1);
}

#[test]
fn die_pipe() {
    dies("die_pipe", Signal::SIGPIPE);
}

fn receiver(how: &str) -> Case {
    Case::new(build(Language::C, "receive.c")).arg(how).open_input()
}

/// Signals sent to `tacet` reach the handlers of the program, one after the other.
fn reach_the_handler(how: &str) {
    let case = receiver(how);
    let (node, scratch) = (Node::take(), Scratch::new());
    for is_native in [true, false] {
        let running = if is_native { case.start_native(&node, &scratch) } else { case.start_cell(&node, &scratch) };
        running.wait_for("ready\n");
        for signal in [SIGUSR1, SIGINT] {
            running.signal(signal);
            running.wait_for(&format!("got {signal}\n"));
        }
        running.signal(SIGTERM);
        let outcome = running.finish();
        assert_eq!(outcome.out(), "ready\ngot SIGUSR1\ngot SIGINT\ngot SIGTERM\n", "{outcome}");
        assert_eq!(outcome.status.code(), Some(3), "{outcome}");
    }
}

#[test]
fn from_outside_to_a_waiting_program() {
    reach_the_handler("pause");
}

#[test]
fn from_outside_to_a_computing_program() {
    reach_the_handler("compute");
}

/// Without a handler the program ends, and `tacet` by the same signal.
#[test]
fn from_outside_with_default_action() {
    let case = receiver("default");
    let (node, scratch) = (Node::take(), Scratch::new());
    let before = Holdings::now(&node);
    for signal in [SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP, SIGQUIT] {
        let running = case.start_cell(&node, &scratch);
        running.wait_for("ready\n");
        running.signal(signal);
        let outcome = running.finish();
        assert_eq!(outcome.status.signal(), Some(signal as i32), "{outcome}");
        assert_eq!(outcome.out(), "ready\n");
    }
    before.assert_nothing_added();
}

/// What a shell sees of it: 128 + 15.
#[test]
fn terminated_as_a_shell_sees_it() {
    let script =
        r#""$@" > output & pid=$!; until grep -q ready output; do :; done; kill -TERM $pid; wait $pid; echo $?"#;
    let shell = Case::new("bash").args(["-c", script, "bash"]).file("output", "");
    let program = build(Language::C, "receive.c");
    let native = shell.clone().arg(&program).arg("default").native();
    let cell = shell.args(platform::tacet_run::<&str>(&[])).arg(&program).arg("default").native();
    assert_eq!(native.out(), "143\n", "{native}");
    assert_eq!(cell.out(), "143\n", "{cell}");
}

/// `tacet` killed in the middle: nothing that it started lives on. What it had taken from the
/// node is given back by the next `tacet` at the latest.
fn killed_leaves_nothing(how: &str) {
    let (node, scratch) = (Node::take(), Scratch::new());
    let before = Holdings::now(&node);
    let running = receiver(how).start_cell(&node, &scratch);
    running.wait_for("ready\n");
    let family = process::family(running.pid());
    assert!(family.len() > 1, "a cell on the process platform is a child of tacet: {family:#?}");
    running.signal(SIGKILL);
    let (outcome, strays) = running.finish_with_strays();
    assert_eq!(outcome.status.signal(), Some(SIGKILL as i32), "{outcome}");
    let alive = || family.iter().filter(|process| process::is_alive(process)).collect::<Vec<_>>();
    let is_gone = strays.is_empty() && poll_until(SETTLE_LIMIT, || alive().is_empty().then_some(())).is_some();
    assert!(is_gone, "still there: {strays:#?} {:#?}", alive());
    let next = Case::new("/bin/true").start_cell(&node, &scratch).finish();
    assert_eq!(next.status.code(), Some(0), "the next cell after a killed one: {next}");
    before.assert_nothing_added();
}

#[test]
fn killed_while_waiting() {
    killed_leaves_nothing("default");
}

#[test]
fn killed_while_computing() {
    killed_leaves_nothing("compute");
}

#[test]
fn killed_in_a_blocking_read() {
    killed_leaves_nothing("read");
}

/// A program that is stopped stands still with all its threads, also those that compute, until it is
/// told to go on; whoever waits for it sees that.
fn stands_still(how: &str, signal: Option<Signal>) {
    let case = Case::new(build(Language::C, "stop.c")).arg(how).options(platform::cores(2));
    let (node, scratch) = (Node::take(), Scratch::new());
    for is_native in [true, false] {
        let running = if is_native { case.start_native(&node, &scratch) } else { case.start_cell(&node, &scratch) };
        running.wait_for("ready\n");
        if let Some(signal) = signal {
            running.signal(signal);
        }
        let is_stopped = || (process::state(running.pid()) == Some('T')).then_some(());
        assert!(poll_until(SETTLE_LIMIT, is_stopped).is_some(), "it goes on");
        std::thread::sleep(Duration::from_secs(2));
        running.signal(Signal::SIGCONT);
        running.wait_for("continued\n");
        running.signal(SIGTERM);
        let outcome = running.finish();
        assert_eq!(outcome.out(), "ready\ncontinued\nstood still: 2 of 2\n", "{outcome}");
        assert_eq!(outcome.status.code(), Some(3), "{outcome}");
    }
}

#[test]
fn stopped_from_outside() {
    stands_still("outside", Some(Signal::SIGTSTP));
}

#[test]
fn stopped_by_itself() {
    stands_still("itself", None);
}
