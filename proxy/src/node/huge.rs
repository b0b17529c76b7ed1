//! Memory of one NUMA node: how much there is, and its pool of 2 MiB pages.
//!
//! A kernel without NUMA support has no node directory; node 0 is then the whole machine, and its
//! pool the machine's.

use std::path::{Path, PathBuf};

use super::memory::{Memory, field};
use super::{Unreadable, read, read_if_there};

/// The pool of the whole machine.
const GLOBAL: &str = "sys/kernel/mm/hugepages/hugepages-2048kB";

/// A pool, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// All pages, those that are beyond the size that was set included.
    pub total: u64,
    /// Pages that nobody has, though some may be promised.
    pub free: u64,
    /// Pages beyond the size that was set: they leave when their users do.
    pub surplus: u64,
}

impl Pool {
    /// Reads the pool of a NUMA node.
    pub fn read(root: &Path, numa: u32) -> Result<Self, Unreadable> {
        let directory = directory(root, numa);
        let number = |name: &str| number(root, &directory.join(name));
        Ok(Pool {
            total: number("nr_hugepages")?,
            free: number("free_hugepages")?,
            surplus: number("surplus_hugepages")?,
        })
    }

    /// The size that was set.
    pub fn size(&self) -> u64 {
        self.total.saturating_sub(self.surplus)
    }

    /// Pages that can be had: free and promised to nobody. Linux counts promises for the whole
    /// machine; all of them may be for this node.
    pub fn usable(&self, promised: u64) -> u64 {
        self.free.saturating_sub(promised)
    }
}

/// Free pages that are promised to somebody, on the whole machine.
pub fn promised(root: &Path) -> Result<u64, Unreadable> {
    number(root, &Path::new(GLOBAL).join("resv_hugepages"))
}

/// Pages of a node's pool, or the machine's, that can be had: free and promised to nobody. `None`
/// where Linux has no such pool.
pub fn free(root: &Path, numa: Option<u32>) -> Result<Option<u64>, Unreadable> {
    if !root.join(GLOBAL).is_dir() {
        return Ok(None);
    }
    let directory = numa.map_or_else(|| GLOBAL.into(), |numa| directory(root, numa));
    let free = number(root, &directory.join("free_hugepages"))?;
    Ok(Some(free.saturating_sub(promised(root)?)))
}

/// The file with the size of a NUMA node's pool.
pub fn size_file(root: &Path, numa: u32) -> PathBuf {
    root.join(directory(root, numa)).join("nr_hugepages")
}

/// Memory of a NUMA node; `None` where Linux does not tell it by node.
pub fn memory(root: &Path, numa: u32) -> Result<Option<Memory>, Unreadable> {
    let Some(text) = read_if_there(root, &format!("sys/devices/system/node/node{numa}/meminfo"))? else {
        return Ok(None);
    };
    let available = super::memory::available_on_numa_node(&text);
    Ok(field(&text, "MemTotal").zip(available).map(|(total, available)| Memory { total, available }))
}

/// The pool's directory, below the root.
fn directory(root: &Path, numa: u32) -> PathBuf {
    let of_node = format!("sys/devices/system/node/node{numa}/hugepages/hugepages-2048kB");
    if root.join(&of_node).is_dir() { of_node.into() } else { GLOBAL.into() }
}

fn number(root: &Path, path: &Path) -> Result<u64, Unreadable> {
    let path = path.to_string_lossy();
    read(root, &path)?.trim().parse().map_err(|_| Unreadable::new(&path, "not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;

    fn pool(root: &Fixture, directory: &str, [total, free, surplus]: [u32; 3]) {
        root.file(&format!("{directory}/nr_hugepages"), &format!("{total}\n"));
        root.file(&format!("{directory}/free_hugepages"), &format!("{free}\n"));
        root.file(&format!("{directory}/surplus_hugepages"), &format!("{surplus}\n"));
    }

    #[test]
    fn of_a_numa_node() {
        let root = Fixture::new();
        pool(&root, "sys/devices/system/node/node1/hugepages/hugepages-2048kB", [10, 7, 2]);
        pool(&root, GLOBAL, [99, 50, 2]);
        root.file(&format!("{GLOBAL}/resv_hugepages"), "3\n");
        let of_node = Pool::read(root.path(), 1).expect("readable");
        assert_eq!((of_node, of_node.size()), (Pool { total: 10, free: 7, surplus: 2 }, 8));
        assert_eq!(of_node.usable(promised(root.path()).expect("readable")), 4);
        assert_eq!(free(root.path(), Some(1)).expect("readable"), Some(4));
        assert_eq!(free(root.path(), None).expect("readable"), Some(47));
        assert_eq!(free(Fixture::new().path(), None).expect("no pool"), None);
        assert!(size_file(root.path(), 1).to_string_lossy().contains("node1"));
    }

    #[test]
    fn without_numa_nodes_it_is_the_machines() {
        let root = Fixture::new();
        pool(&root, GLOBAL, [99, 50, 0]);
        assert_eq!(Pool::read(root.path(), 0).expect("readable").total, 99);
        assert_eq!(memory(root.path(), 0).expect("readable"), None);
    }

    #[test]
    fn memory_of_a_numa_node() {
        let root = Fixture::new();
        let text = "Node 1 MemTotal: 100 kB\nNode 1 MemFree: 10 kB\nNode 1 FilePages: 4 kB\nNode 1 Shmem: 1 kB\n";
        root.file("sys/devices/system/node/node1/meminfo", text);
        let expected = Memory { total: 100 << 10, available: 13 << 10 };
        assert_eq!(memory(root.path(), 1).expect("readable"), Some(expected));
    }
}
