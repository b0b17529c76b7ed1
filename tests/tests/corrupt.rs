//! The memory that kernel and proxy share holds nonsense: written by the cell, as far as the proxy can
//! tell, or by the proxy, as far as the kernel can. The cell ends and says why, and nothing of it
//! stays.

use nix::sys::signal::Signal;
use shm_ipc::control::MAGIC;
use shm_ipc::layout::Layout;
use shm_ipc::ring::Ring;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use tacet_tests::node::Holdings;
use tacet_tests::scratch::Scratch;
use tacet_tests::{Case, Node, Outcome, RUN_LIMIT, Running, SETTLE_LIMIT, poll_until};

/// A cell's memory, as its proxy has it mapped.
struct Memory {
    process: File,
    base: u64,
}

impl Memory {
    /// Where a mapping of the proxy begins with a control page.
    fn find(pid: i32) -> Option<Memory> {
        let process = File::options().read(true).write(true).open(format!("/proc/{pid}/mem")).ok()?;
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
        let starts = maps.lines().filter(|line| line.contains(" rw-s ")).filter_map(|line| line.split('-').next());
        let mut bases = starts.filter_map(|start| u64::from_str_radix(start, 16).ok());
        let base = bases.find(|base| word(&process, *base) == Some(MAGIC))?;
        Some(Memory { process, base })
    }

    fn layout(&self) -> Layout {
        /// Offset of the layout in the control page.
        const LAYOUT: u64 = 24;
        let words = std::array::from_fn(|index| {
            word(&self.process, self.base + LAYOUT + 8 * index as u64).expect("the control page can be read")
        });
        Layout::from_words(words).expect("a layout")
    }

    /// Whether there still is somebody who has it mapped.
    fn write(&self, offset: u64, bytes: &[u8]) -> bool {
        self.process.write_all_at(bytes, self.base + offset).is_ok()
    }
}

fn word(memory: &File, at: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    memory.read_exact_at(&mut bytes, at).ok()?;
    Some(u64::from_le_bytes(bytes))
}

/// A cell whose program calls Linux without an end.
fn busy(node: &Node, scratch: &Scratch) -> (Running, Memory) {
    let case = Case::new("/bin/sh").args(["-c", "echo ready; while :; do : > /dev/null; done"]);
    let running = case.options(["--cores", "1", "--memory", "64M"]).start_cell(node, scratch);
    running.wait_for("ready\n");
    let memory = poll_until(SETTLE_LIMIT, || Memory::find(running.pid())).expect("its memory");
    (running, memory)
}

/// Writes over and over, since whoever owns the place does so too, until nobody is there any more.
fn overwrite(offset: impl Fn(&Layout) -> u64, bytes: &[u8]) -> Outcome {
    let (node, scratch) = (Node::take(), Scratch::new());
    let before = Holdings::now(&node);
    let (running, memory) = busy(&node, &scratch);
    let offset = offset(&memory.layout());
    let start = Instant::now();
    while memory.write(offset, bytes) && start.elapsed() < RUN_LIMIT {
        std::thread::sleep(Duration::from_micros(100));
    }
    let (outcome, strays) = running.finish_with_strays();
    assert!(strays.is_empty(), "{outcome}\n{strays:#?}");
    before.assert_nothing_added();
    outcome
}

/// One line says `what`, with the status of a cell whose kernel has failed.
fn failed(outcome: &Outcome, what: &str) {
    assert_eq!(outcome.status.code(), Some(70), "{outcome}");
    let text = outcome.err();
    let line = text.lines().find(|line| line.contains(what));
    assert!(line.is_some_and(|line| line.starts_with("tacet: ")), "{outcome}");
}

const RING: u64 = size_of::<Ring>() as u64;
/// Offset of the consumer's counter in a ring, behind the producer's.
const HEAD: u64 = 64;
/// A fill level that can't be, whatever the other counter is by now.
const NONSENSE: [u8; 4] = 0x8000_0000u32.to_le_bytes();

#[test]
fn submissions_that_the_cell_has_not_made() {
    failed(&overwrite(|layout| layout.rings, &NONSENSE), "submission ring of core 0");
}

#[test]
fn completions_that_the_cell_has_not_taken() {
    failed(&overwrite(|layout| layout.rings + RING + HEAD, &NONSENSE), "completion ring of core 0");
}

/// The kernel panics: its record is told.
#[test]
fn submissions_that_the_proxy_has_not_taken() {
    let outcome = overwrite(|layout| layout.rings + HEAD, &NONSENSE);
    failed(&outcome, "the kernel of this cell failed: ");
    failed(&outcome, "submission ring of core 0");
}

/// The kernel panics: its record is told.
#[test]
fn completions_that_the_proxy_has_not_made() {
    let outcome = overwrite(|layout| layout.rings + RING, &NONSENSE);
    failed(&outcome, "the kernel of this cell failed: ");
    failed(&outcome, "completion ring of core 0");
}

/// Both go on with what they know, and the program's end is what it says.
#[test]
fn a_control_page_of_nonsense() {
    for byte in [0, 0xff] {
        let (node, scratch) = (Node::take(), Scratch::new());
        let before = Holdings::now(&node);
        let (running, memory) = busy(&node, &scratch);
        assert!(memory.write(0, &[byte; 4096]), "it was there");
        running.signal(Signal::SIGTERM);
        let (outcome, strays) = running.finish_with_strays();
        assert!(strays.is_empty(), "{outcome}\n{strays:#?}");
        let status = outcome.shell_status();
        assert!(status == 70 || status == 128 + 15, "{status}: {outcome}");
        before.assert_nothing_added();
    }
}
