//! How much memory there is: the machine's, cut by the limits of the control group.
//!
//! "Available" is Linux's own estimate: free memory and what it would drop for us. Both versions
//! of control groups are asked, because nodes with version 1 are still about; every group from
//! ours up to the root may limit.

use std::path::Path;

use super::{Unreadable, read, read_if_there};

/// Memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All that the machine, or the control group, has.
    pub total: u64,
    /// What can still be had.
    pub available: u64,
}

impl Memory {
    /// Reads it.
    pub fn read(root: &Path) -> Result<Self, Unreadable> {
        const MEMINFO: &str = "proc/meminfo";
        let text = read(root, MEMINFO)?;
        let value = |name| field(&text, name).ok_or_else(|| Unreadable::new(MEMINFO, format!("{name} is missing")));
        let machine = Memory { total: value("MemTotal")?, available: value("MemAvailable")? };
        let groups = read_if_there(root, "proc/self/cgroup")?.unwrap_or_default();
        Ok(limits(root, &groups).into_iter().fold(machine, Memory::at_most))
    }

    fn at_most(self, other: Memory) -> Memory {
        Memory { total: self.total.min(other.total), available: self.available.min(other.available) }
    }
}

/// The value of `Name:   123 kB`, in bytes. Lines of NUMA nodes have `Node 0` before the name.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| word.strip_suffix(':') != Some(name)).skip(1);
        let kib: u64 = words.next()?.parse().ok()?;
        kib.checked_mul(1024)
    })
}

/// What `node*/meminfo` has free or would drop: file pages that are not shared memory, and
/// reclaimable slabs.
pub fn available_on_numa_node(text: &str) -> Option<u64> {
    let free = field(text, "MemFree")?;
    let files = field(text, "FilePages").unwrap_or(0).saturating_sub(field(text, "Shmem").unwrap_or(0));
    Some(free + files + field(text, "SReclaimable").unwrap_or(0))
}

/// How a version of control groups names things.
struct Version {
    mount: &'static str,
    limit: &'static str,
    usage: &'static str,
    inactive: &'static str,
    active: &'static str,
}

const V2: Version = Version {
    mount: "sys/fs/cgroup",
    limit: "memory.max",
    usage: "memory.current",
    inactive: "inactive_file",
    active: "active_file",
};
const V1: Version = Version {
    mount: "sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    inactive: "total_inactive_file",
    active: "total_active_file",
};

/// The limits of all control groups that this process is in, by the text of `/proc/self/cgroup`.
fn limits(root: &Path, groups: &str) -> Vec<Memory> {
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let version = match controllers {
            "" => &V2,
            list if list.split(',').any(|name| name == "memory") => &V1,
            _ => continue,
        };
        // A group that lies outside our view of the tree ("/../x") is skipped: its files are
        // not there.
        found.extend(
            Path::new(path.trim_start_matches('/')).ancestors().filter_map(|group| limit(root, version, group)),
        );
    }
    found
}

fn limit(root: &Path, version: &Version, group: &Path) -> Option<Memory> {
    let directory = root.join(version.mount).join(group);
    let number = |name: &str| std::fs::read_to_string(directory.join(name)).ok()?.trim().parse::<u64>().ok();
    // "max" is no number, and version 1 writes no limit as one that no machine has.
    let total = number(version.limit)?;
    let used = number(version.usage)?;
    let stat = std::fs::read_to_string(directory.join("memory.stat")).unwrap_or_default();
    let droppable = stat_field(&stat, version.inactive) + stat_field(&stat, version.active);
    Some(Memory { total, available: total.saturating_sub(used.saturating_sub(droppable)) })
}

fn stat_field(text: &str, name: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;

    const MEMINFO: &str = "MemTotal:       24684084 kB\nMemFree:        24289296 kB\nMemAvailable:   1000 kB\n";

    #[test]
    fn the_machine_alone() {
        let root = Fixture::new();
        root.file("proc/meminfo", MEMINFO);
        let memory = Memory::read(root.path()).expect("readable");
        assert_eq!(memory, Memory { total: 24_684_084 << 10, available: 1000 << 10 });
    }

    #[test]
    fn a_group_above_limits_too() {
        let root = Fixture::new();
        root.file("proc/meminfo", "MemTotal: 8000 kB\nMemAvailable: 7000 kB\n");
        root.file("proc/self/cgroup", "0::/job/step\n");
        root.file("sys/fs/cgroup/job/memory.max", "4096000\n");
        root.file("sys/fs/cgroup/job/memory.current", "1000000\n");
        root.file("sys/fs/cgroup/job/memory.stat", "anon 1\ninactive_file 200000\nactive_file 100000\n");
        root.file("sys/fs/cgroup/job/step/memory.max", "max\n");
        root.file("sys/fs/cgroup/job/step/memory.current", "5\n");
        let memory = Memory::read(root.path()).expect("readable");
        assert_eq!(memory, Memory { total: 4_096_000, available: 4_096_000 - 700_000 });
    }

    #[test]
    fn version_1_limits_as_well() {
        let root = Fixture::new();
        root.file("proc/meminfo", "MemTotal: 8000 kB\nMemAvailable: 7000 kB\n");
        root.file("proc/self/cgroup", "9:name=systemd:/\n4:cpuset,memory:/box\n0::/\n");
        root.file("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "2048000\n");
        root.file("sys/fs/cgroup/memory/box/memory.usage_in_bytes", "3000000\n");
        root.file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        root.file("sys/fs/cgroup/memory/memory.usage_in_bytes", "0\n");
        let memory = Memory::read(root.path()).expect("readable");
        assert_eq!(memory, Memory { total: 2_048_000, available: 0 });
    }

    #[test]
    fn a_missing_field_is_named() {
        let root = Fixture::new();
        root.file("proc/meminfo", "MemTotal: 8000 kB\n");
        let error = Memory::read(root.path()).expect_err("incomplete");
        assert!(error.to_string().contains("MemAvailable"), "{error}");
    }

    #[test]
    fn numa_node_lines() {
        let text = "Node 1 MemTotal: 100 kB\nNode 1 MemFree: 10 kB\nNode 1 FilePages: 9 kB\nNode 1 Shmem: 2 kB\n";
        assert_eq!(available_on_numa_node(text), Some(17 << 10));
        assert_eq!(available_on_numa_node("Node 1 MemTotal: 100 kB\n"), None);
    }
}
