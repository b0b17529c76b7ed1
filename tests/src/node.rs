//! The node that tests share: one test at a time runs on its cores, and what a cell may have left
//! behind on it can be told.

use crate::programs::lock;
use crate::{SETTLE_LIMIT, poll_until};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The right to run programs on the node's cores; held by one test at a time, across test
/// binaries too.
#[derive(Debug)]
pub struct Node {
    _lock: File,
}

impl Node {
    /// Waits for its turn.
    pub fn take() -> Node {
        Node { _lock: lock("node.lock") }
    }
}

/// The `tacet` under test: what `TACET_BIN` names, else the release build of this workspace.
///
/// # Panics
/// When there is none, with what to do.
pub fn tacet() -> PathBuf {
    let path = match std::env::var_os("TACET_BIN") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/tacet"),
    };
    path.canonicalize().unwrap_or_else(|error| {
        panic!("{}: {error}; run `cargo build --release`, or name a tacet in TACET_BIN", path.display())
    })
}

/// How many cores this process may use.
pub fn core_count() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get())
}

/// What is on the node that outlives a process: shared memory and Tacet's ledger.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holdings {
    shared_memory_files: Vec<String>,
    sysv_segments: Vec<String>,
    reserved_huge_pages: String,
    ledger: BTreeMap<PathBuf, Vec<u8>>,
}

impl Holdings {
    /// What is there now.
    pub fn now() -> Holdings {
        let mut ledger = BTreeMap::new();
        read_ledger(Path::new("/run/tacet"), &mut ledger);
        Holdings {
            shared_memory_files: shared_memory_files(),
            sysv_segments: sysv_segments(),
            reserved_huge_pages: huge_pages(),
            ledger,
        }
    }

    /// Checks that nothing is there that was not there before.
    ///
    /// # Panics
    /// When something stays after [`SETTLE_LIMIT`], with what it is.
    pub fn assert_unchanged(&self) {
        let settled = poll_until(SETTLE_LIMIT, || (Holdings::now() == *self).then_some(()));
        assert!(settled.is_some(), "left behind on the node:\nbefore {self:#?}\nafter {:#?}", Holdings::now());
    }
}

fn shared_memory_files() -> Vec<String> {
    let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Key and id of every System V shared-memory segment.
fn sysv_segments() -> Vec<String> {
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let lines = table.lines().skip(1);
    lines.map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).collect()
}

/// Total and free huge pages: what a cell has taken from the pool must be back in it.
fn huge_pages() -> String {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let counts = text.lines().filter(|line| line.starts_with("HugePages_Total") || line.starts_with("HugePages_Free"));
    counts.collect::<Vec<_>>().join("; ")
}

/// The files of the ledger but its lock; one that is empty holds no entry.
fn read_ledger(directory: &Path, ledger: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            read_ledger(&path, ledger);
        } else if !path.to_string_lossy().ends_with("lock") {
            let content = fs::read(&path).unwrap_or_default();
            if !content.is_empty() {
                ledger.insert(path, content);
            }
        }
    }
}
