//! Machine checks on a cell's core: the emulator of the node injects them while the program computes.
//! One that the processor can go on after is counted and survived; one that it can't ends the cell, with
//! a report, and Linux gets the core back.
//!
//! Runs on the host and starts the node itself: `scripts/test-partition` calls it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tacet_tests::node::tacet;
use tacet_tests::scratch::Scratch;
use tacet_tests::{Case, Language, Node, build};

/// Two cells on core 3, one after the other, and which cores Linux has afterwards.
const SCRIPT: &str = "for cell in first second; do
    echo $cell
    \"$2\" run --stats --platform partition --cores 3-3 --memory 64M -- \"$1\" 8 2>$cell.err
    echo \"status $?\"
    cat $cell.err
done
cat /sys/devices/system/cpu/online";

/// QEMU's `mce CPU BANK STATUS MCG_STATUS ADDRESS MISC`: valid, uncorrected, enabled, with address and
/// context corrupt or not as the processor's own status says (Intel SDM volume 3, 16.3.1.2 and 16.3.2.2).
fn machine_check(restart_is_valid: bool) -> String {
    let (in_progress, restart_valid) = (4, u32::from(restart_is_valid));
    format!("mce 3 1 0xbe00000000000000 {:#x} 0 0\n", in_progress | restart_valid)
}

#[test]
fn survived_or_reported() {
    let (node, scratch) = (Node::take(), Scratch::new());
    let monitor = scratch.path().join("monitor");
    mkfifo(&monitor, Mode::S_IRWXU).expect("a named pipe can be made");
    let node_script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/node");
    let case = Case::new(node_script).arg("--monitor").arg(&monitor).args(["--", "sh", "-c", SCRIPT, "sh"]);
    let case = case.arg(build(Language::C, "quiet.c")).arg(tacet()).limit(Duration::from_secs(300));

    let running = case.start_native(&node, &scratch);
    running.wait_for("first\ncomputing\n");
    fs::write(&monitor, machine_check(true)).expect("the node reads the pipe");
    running.wait_for("second\ncomputing\n");
    fs::write(&monitor, machine_check(false)).expect("the node reads the pipe");
    let outcome = running.finish();

    let out = outcome.out();
    let (survived, reported) = out.split_once("second\n").unwrap_or_else(|| panic!("two cells: {outcome}"));
    assert!(survived.contains("computed\nstatus 0\n"), "{outcome}");
    let mut counters = survived.lines().filter(|line| line.starts_with("involuntary"));
    assert_eq!(counters.next().and_then(|line| line.split_whitespace().nth(1)), Some("1"), "{outcome}");
    assert!(!reported.contains("computed") && reported.contains("status 70\n"), "{outcome}");
    let report =
        "tacet: the hardware of core 3 failed (machine check, MCG_STATUS 0x4, bank 1 status 0xbe00000000000000): ";
    assert!(reported.contains(report), "{outcome}");
    assert!(reported.ends_with("0-3\n"), "{outcome}");
}
