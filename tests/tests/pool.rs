//! Cells whose large pages come from Linux's pool: for users who can't change what memfds get.
//!
//! The pool is filled for the test, which takes root; the cell runs as a user without privileges.
//! Where either is not possible the tests say so and pass.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use tacet_tests::node::Holdings;
use tacet_tests::scratch::Scratch;
use tacet_tests::{Case, Language, Node, Outcome, SETTLE_LIMIT, build, node, poll_until};

const SIZE: &str = "/proc/sys/vm/nr_hugepages";
const SETTING: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
/// Pages that the tests need: those of two cells.
const PAGES: u64 = 128;

/// A pool with pages in it, as large as it was when this goes.
struct Pool {
    before: String,
    node: Node,
}

impl Pool {
    /// `None`, and why, where there can't be one.
    fn fill() -> Option<Pool> {
        let skip = |why: &str| {
            println!("skipped: {why}");
            None
        };
        let node = Node::take();
        if !fs::read_to_string(SETTING).is_ok_and(|text| text.contains("[never]")) {
            return skip("memfds get transparent large pages here, so that no cell needs the pool");
        }
        let Ok(before) = fs::read_to_string(SIZE) else { return skip("this kernel has no pool of huge pages") };
        let size: u64 = before.trim().parse().expect("a number");
        if fs::write(SIZE, (size + PAGES).to_string()).is_err() {
            return skip("only root fills the pool of huge pages");
        }
        let pool = Pool { before, node };
        let is_filled = || (free_pages() >= PAGES).then_some(());
        if poll_until(SETTLE_LIMIT, is_filled).is_none() {
            return skip("there is not enough memory in one piece to fill the pool");
        }
        Some(pool)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let _ = fs::write(SIZE, &self.before);
    }
}

fn free_pages() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("HugePages_Free:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// `tacet` and the program where everybody gets.
struct Places {
    tacet: PathBuf,
    program: PathBuf,
    scratch: Scratch,
}

impl Places {
    fn new() -> Places {
        let scratch = Scratch::new();
        let open = |path: &std::path::Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755));
        open(scratch.path()).expect("ours");
        let copy = |from: PathBuf, name: &str| {
            let to = scratch.path().join(name);
            fs::copy(from, &to).expect("copied");
            open(&to).expect("ours");
            to
        };
        let tacet = copy(node::tacet(), "tacet");
        let program = copy(build(Language::C, "pool.c"), "pool");
        Places { tacet, program, scratch }
    }

    /// `tacet run` with these options and the program with this section, without privileges.
    fn case(&self, options: &[&str], section: &str) -> Case {
        let user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
        let case = Case::new(&self.tacet).launcher(user).env("XDG_RUNTIME_DIR", "/none").arg("run");
        case.args(options).arg("--").arg(&self.program).arg(section)
    }

    fn run(&self, node: &Node, options: &[&str], section: &str) -> Outcome {
        self.case(options, section).start_native(node, &self.scratch).finish()
    }
}

/// Bytes of the pool that a cell touched, as its statistics have it.
fn touched_of_pool(outcome: &Outcome) -> bool {
    let err = outcome.err();
    let line = err.lines().find(|line| line.contains("large pages: ")).unwrap_or_default();
    line.contains("of the pool") && line.ends_with("of them touched") && !line.contains(" 0 bytes of them")
}

fn assert_same(section: &str) {
    let Some(pool) = Pool::fill() else { return };
    let (places, before) = (Places::new(), Holdings::now(&pool.node));
    let native = Case::new(&places.program).arg(section).start_native(&pool.node, &places.scratch).finish();
    assert!(native.out().ends_with("end\n") && !native.out().contains("FAILS"), "{native}");
    let cell = places.run(&pool.node, &["--stats"], section);
    assert_eq!((cell.out(), cell.status), (native.out(), native.status), "{cell}");
    assert!(touched_of_pool(&cell), "{cell}");
    before.assert_nothing_added();
}

macro_rules! sections {
    ($($section:ident),* $(,)?) => {
        $(
            #[test]
            fn $section() {
                assert_same(stringify!($section));
            }
        )*
    };
}

sections!(unmap, protect, remap, advise, replace, files, threads, heap);

/// More than the pool has, and more of it than the cell may have.
#[test]
fn memory_of_both_kinds() {
    let Some(pool) = Pool::fill() else { return };
    let (places, before) = (Places::new(), Holdings::now(&pool.node));
    for size in ["96M", "256M", "1G"] {
        let outcome = places.run(&pool.node, &["--stats", "--memory", size], "advise");
        assert_eq!(outcome.status.code(), Some(0), "{size}: {outcome}");
        assert!(touched_of_pool(&outcome), "{size}: {outcome}");
    }
    before.assert_nothing_added();
}

#[test]
fn the_pool_is_full_again_after_a_killed_proxy() {
    let Some(pool) = Pool::fill() else { return };
    let (places, before) = (Places::new(), Holdings::now(&pool.node));
    let running = places.case(&[], "wait").start_native(&pool.node, &places.scratch);
    running.wait_for("touched\n");
    assert!(free_pages() < PAGES, "nothing is in use");
    running.signal(Signal::SIGKILL);
    let outcome = running.finish();
    assert_eq!(outcome.shell_status(), 128 + 9, "{outcome}");
    before.assert_nothing_added();
}

#[test]
fn a_rehearsal_tells_and_takes_nothing() {
    let Some(pool) = Pool::fill() else { return };
    let (places, before) = (Places::new(), Holdings::now(&pool.node));
    let outcome = places.run(&pool.node, &["--dry-run"], "advise");
    assert_eq!(outcome.status.code(), Some(0), "{outcome}");
    assert!(outcome.out().contains("of the pool of reserved ones"), "{outcome}");
    before.assert_nothing_added();
}
