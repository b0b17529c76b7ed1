//! Clocks and sleeping.

use nix::sys::signal::Signal;
use tacet_tests::scratch::Scratch;
use tacet_tests::{Case, Language, Node, build, platform};

tacet_tests::sections!("clocks.c": read, vdso, rate, sleep, cpu_sleep, sleepers);

/// The clocks of CPU time count what the core gave to the program, whoever else is on it.
#[test]
fn on_a_shared_core() {
    let case = |how: &str| Case::new(build(Language::C, "clocks.c")).arg(how).options(platform::cores(1));
    if platform::is_partition() {
        let outcome = case("own").cell();
        return assert!(outcome.out().ends_with("end\n") && !outcome.out().contains("FAILS"), "{outcome}");
    }
    let node = Node::take();
    let scratch = Scratch::new();
    let other = Case::new("taskset").args(["-c", "0", "sh", "-c", "echo on it; while :; do :; done"]);
    let other = other.start_native(&node, &scratch);
    other.wait_for("on it\n");
    let cell = case("shared").start_cell(&node, &scratch).finish();
    let native = case("shared").launcher(["taskset", "-c", "0"]).start_native(&node, &scratch).finish();
    other.signal(Signal::SIGKILL);
    other.finish();
    assert!(native.out().ends_with("end\n") && !native.out().contains("FAILS"), "{native}");
    assert_eq!(cell.out(), native.out(), "{native}\n{cell}");
}
