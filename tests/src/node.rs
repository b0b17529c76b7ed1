//! The node that tests share: one test at a time runs on its cores, and what a cell may have left
//! behind on it can be told.

use crate::programs::lock;
use crate::{SETTLE_LIMIT, platform, poll_until};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The right to run programs on the node's cores; held by one test at a time, across test
/// binaries too. Where cells take cores out of Linux, everything is back when it is given up.
#[derive(Debug)]
pub struct Node {
    before: Option<Holdings>,
    _lock: File,
}

impl Node {
    /// Waits for its turn.
    pub fn take() -> Node {
        let lock = lock("node.lock");
        Node { before: platform::is_partition().then(Holdings::read), _lock: lock }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(before) = &self.before
            && !std::thread::panicking()
        {
            before.assert_nothing_added();
        }
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

/// What is on the node that outlives a process: shared memory, huge pages, Tacet's ledger, and the
/// cores that Linux has.
#[derive(Debug)]
pub struct Holdings {
    things: BTreeSet<String>,
    used_huge_pages: u64,
}

impl Holdings {
    /// What is there now. The node is taken, so that it is nobody else's who will clean up soon.
    pub fn now(_node: &Node) -> Holdings {
        Holdings::read()
    }

    fn read() -> Holdings {
        let mut things = BTreeSet::new();
        things.extend(shared_memory_files());
        things.extend(sysv_segments());
        read_ledger(Path::new("/run/tacet"), &mut things);
        things.extend(cores_online());
        things.extend(huge_page_pools());
        things.extend(huge_page_mounts());
        Holdings { things, used_huge_pages: used_huge_pages() }
    }

    /// Checks that nothing is there that was not there before.
    ///
    /// # Panics
    /// When something stays after [`SETTLE_LIMIT`], with what it is.
    pub fn assert_nothing_added(&self) {
        let added = || {
            let now = Holdings::read();
            let mut added: Vec<String> = now.things.difference(&self.things).cloned().collect();
            if now.used_huge_pages > self.used_huge_pages {
                added.push(format!("{} huge pages", now.used_huge_pages - self.used_huge_pages));
            }
            added
        };
        let settled = poll_until(SETTLE_LIMIT, || added().is_empty().then_some(()));
        assert!(settled.is_some(), "left behind on the node: {:#?}", added());
    }
}

fn shared_memory_files() -> Vec<String> {
    let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    entries.map(|entry| entry.path().display().to_string()).collect()
}

/// Key and id of every System V shared-memory segment.
fn sysv_segments() -> Vec<String> {
    let table = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let ids = table.lines().skip(1).map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" id "));
    ids.map(|id| format!("System V segment, key {id}")).collect()
}

fn cores_online() -> Option<String> {
    Some(format!("cores online: {}", fs::read_to_string("/sys/devices/system/cpu/online").ok()?.trim()))
}

/// How many huge pages each NUMA node has, of each size.
fn huge_page_pools() -> Vec<String> {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let nodes = entries(Path::new("/sys/devices/system/node")).map(|node| node.join("hugepages"));
    let pools = nodes.flat_map(|pools| entries(&pools).collect::<Vec<_>>()).map(|pool| pool.join("nr_hugepages"));
    let size = |path: PathBuf| {
        let pages = fs::read_to_string(&path).ok()?;
        Some(format!("{}: {}", path.display(), pages.trim()))
    };
    pools.filter_map(size).collect()
}

fn huge_page_mounts() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts.lines().filter(|line| line.split(' ').nth(2) == Some("hugetlbfs")).map(str::to_owned).collect()
}

/// Huge pages of the pool that are in use or promised: what a cell took must be back in it.
fn used_huge_pages() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let count = |name: &str| -> u64 {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    };
    (count("HugePages_Total:") + count("HugePages_Rsvd:")).saturating_sub(count("HugePages_Free:"))
}

/// The entries of the ledger: its files but the lock. An empty one holds no entry. The memory of
/// cells on bare cores is mounted there: it is told by [`huge_page_mounts`], and changes all the time.
fn read_ledger(directory: &Path, things: &mut BTreeSet<String>) {
    let device = |path: &Path| fs::metadata(path).map(|data| data.dev()).ok();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if device(&path) == device(directory) {
                read_ledger(&path, things);
            }
        } else if !path.to_string_lossy().ends_with("lock") {
            let content = fs::read(&path).unwrap_or_default();
            let lines = String::from_utf8_lossy(&content).into_owned();
            things.extend(lines.lines().map(|line| format!("{}: {line}", path.display())));
        }
    }
}
