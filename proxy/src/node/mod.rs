//! What this Linux machine has: processors, memory, large pages.
//!
//! Every reader takes the root of the file tree as an argument, so that tests run on files of
//! their own. Nothing here takes or changes anything.

pub mod cpus;
pub mod huge;
pub mod huge_limit;
pub mod lockdown;
pub mod low_memory;
pub mod memory;
pub mod pages;
pub mod processors;
pub mod topology;
pub mod view;

use std::fmt::Display;
use std::io;
use std::path::Path;

use cpus::CpuSet;
use memory::Memory;
use pages::LargePages;
use topology::Topology;

use crate::sys;

/// Linux tells what we need to know in a file that can't be read, or in words that we don't
/// know.
#[derive(Debug, thiserror::Error)]
#[error("cannot read /{path}: {why}; run `tacet` where /proc and /sys are mounted")]
pub struct Unreadable {
    path: String,
    why: String,
}

impl Unreadable {
    fn new(path: &str, why: impl Display) -> Self {
        Unreadable { path: path.to_owned(), why: why.to_string() }
    }
}

fn read(root: &Path, path: &str) -> Result<String, Unreadable> {
    std::fs::read_to_string(root.join(path)).map_err(|error| Unreadable::new(path, error))
}

fn read_if_there(root: &Path, path: &str) -> Result<Option<String>, Unreadable> {
    match std::fs::read_to_string(root.join(path)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Unreadable::new(path, error)),
    }
}

/// The machine as this process sees it.
#[derive(Debug, Clone)]
pub struct Node {
    /// The processors that this process may use.
    pub affinity: CpuSet,
    /// Where they lie.
    pub topology: Topology,
    /// How much memory there is.
    pub memory: Memory,
    /// In which pages it can be had.
    pub large_pages: LargePages,
    /// Whether programs may set FS and GS bases themselves, without a system call.
    pub has_fsgsbase: bool,
}

impl Node {
    /// Reads what there is to know.
    pub fn read(root: &Path) -> Result<Self, Unreadable> {
        let affinity = affinity_of(root, "self")?;
        let topology = Topology::read(root, &affinity)?;
        let memory = Memory::read(root)?;
        let large_pages = LargePages::read(root)?;
        // AT_HWCAP2 bit 1: arch/x86/include/uapi/asm/hwcap2.h, HWCAP2_FSGSBASE.
        let has_fsgsbase = sys::hwcap2() & 1 << 1 != 0;
        Ok(Node { affinity, topology, memory, large_pages, has_fsgsbase })
    }
}

/// The processors that a process (`self`, or a number) may use.
///
/// From the text file and not by `sched_getaffinity`, whose answer depends on the size of the
/// buffer that the kernel was built for.
pub fn affinity_of(root: &Path, process: &str) -> Result<CpuSet, Unreadable> {
    let path = format!("proc/{process}/status");
    let text = read(root, &path)?;
    let list = text.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let list = list.ok_or_else(|| Unreadable::new(&path, "Cpus_allowed_list is missing"))?;
    list.parse().map_err(|bad| Unreadable::new(&path, bad))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A directory of files for one test, removed afterwards.
    pub struct Fixture(PathBuf);

    impl Fixture {
        pub fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("tacet-unit-{}-{count}", std::process::id()));
            fs::create_dir(&path).expect("the temporary directory is writable");
            Fixture(path)
        }

        pub fn path(&self) -> &Path {
            &self.0
        }

        pub fn file(&self, path: &str, text: &str) -> PathBuf {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().expect("a file has a directory")).expect("own directory");
            fs::write(&path, text).expect("own file");
            path
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn affinity() {
        let root = Fixture::new();
        root.file("proc/7/status", "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t0-3,6\n");
        assert_eq!(affinity_of(root.path(), "7").expect("readable").to_string(), "0-3,6");
        root.file("proc/8/status", "Name:\tx\n");
        assert!(affinity_of(root.path(), "8").is_err());
    }

    #[test]
    fn this_machine() {
        let node = Node::read(Path::new("/")).expect("proc and sys are mounted");
        assert!(!node.affinity.is_empty() && node.affinity.is_subset(&node.topology.online));
        assert_eq!(node.topology.cpus.len(), node.affinity.len());
        assert!(node.memory.available <= node.memory.total && node.memory.available > 0);
    }
}
