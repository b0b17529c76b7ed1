//! Which processors lie together: NUMA nodes and physical cores.
//!
//! Read from sysfs under a root that tests replace. A kernel without NUMA support has no node
//! directory; all processors then belong to node 0.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::cpus::CpuSet;
use super::{Unreadable, read, read_if_there};

/// One processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpu {
    /// Linux's number.
    pub id: u32,
    /// The NUMA node it belongs to.
    pub numa: u32,
    /// Its physical core: the lowest number among the processors that share it.
    pub core: u32,
}

/// One NUMA node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numa {
    /// Linux's number.
    pub id: u32,
    /// Its online processors; none where there is only memory.
    pub cpus: CpuSet,
    /// Bytes that can still be had from it; `None` where Linux does not say.
    pub available: Option<u64>,
}

/// Processors and NUMA nodes of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// The processors that were asked about, ascending.
    pub cpus: Vec<Cpu>,
    /// All NUMA nodes, ascending.
    pub numa: Vec<Numa>,
    /// All online processors.
    pub online: CpuSet,
}

impl Topology {
    /// Reads it, with details of those processors that are in `wanted`: on large machines that
    /// is most of the cost.
    ///
    /// Lists of processors that come or go are read anew: while one does, Linux 6.1 answers EPERM,
    /// or the end of another list than it gave the start of.
    pub fn read(root: &Path, wanted: &CpuSet) -> Result<Self, Unreadable> {
        const TRIES: u32 = 20;
        let read = |_| Self::read_once(root, wanted).inspect_err(|_| thread::sleep(Duration::from_millis(2)));
        (1..TRIES).map(read).find(Result::is_ok).unwrap_or_else(|| Self::read_once(root, wanted))
    }

    fn read_once(root: &Path, wanted: &CpuSet) -> Result<Self, Unreadable> {
        let online = list(root, "sys/devices/system/cpu/online")?;
        let numa = numa_nodes(root, &online)?;
        let cpus = wanted.and(&online).iter().map(|id| cpu(root, id, &numa)).collect::<Result<_, _>>()?;
        Ok(Topology { cpus, numa, online })
    }

    /// Reads it, with details of all online processors.
    pub fn read_all(root: &Path) -> Result<Self, Unreadable> {
        Self::read(root, &list(root, "sys/devices/system/cpu/online")?)
    }

    /// The NUMA node with this number.
    pub fn numa(&self, id: u32) -> Option<&Numa> {
        self.numa.iter().find(|numa| numa.id == id)
    }

    /// The numbers of all NUMA nodes.
    pub fn numa_ids(&self) -> CpuSet {
        self.numa.iter().map(|numa| numa.id).collect()
    }

    /// The processors of `set` so that neighbours lie together: by NUMA node, then by physical
    /// core, then by number.
    pub fn in_order(&self, set: &CpuSet) -> Vec<Cpu> {
        let mut cpus: Vec<Cpu> = self.cpus.iter().copied().filter(|cpu| set.contains(cpu.id)).collect();
        cpus.sort_by_key(|cpu| (cpu.numa, cpu.core, cpu.id));
        cpus
    }
}

fn list(root: &Path, path: &str) -> Result<CpuSet, Unreadable> {
    read(root, path)?.parse().map_err(|bad| Unreadable::new(path, bad))
}

fn numa_nodes(root: &Path, online: &CpuSet) -> Result<Vec<Numa>, Unreadable> {
    const NODES: &str = "sys/devices/system/node";
    if !fs::exists(root.join(NODES).join("online")).unwrap_or(false) {
        return Ok(vec![Numa { id: 0, cpus: online.clone(), available: None }]);
    }
    list(root, "sys/devices/system/node/online")?
        .iter()
        .map(|id| {
            let cpus = list(root, &format!("{NODES}/node{id}/cpulist"))?;
            let available = read(root, &format!("{NODES}/node{id}/meminfo"))
                .ok()
                .and_then(|text| super::memory::available_on_numa_node(&text));
            Ok(Numa { id, cpus: cpus.and(online), available })
        })
        .collect()
}

fn cpu(root: &Path, id: u32, numa: &[Numa]) -> Result<Cpu, Unreadable> {
    let path = format!("sys/devices/system/cpu/cpu{id}/topology/thread_siblings_list");
    let siblings: CpuSet = match read_if_there(root, &path)? {
        Some(text) => text.parse().map_err(|bad| Unreadable::new(&path, bad))?,
        None => CpuSet::default(),
    };
    let home = numa.iter().find(|numa| numa.cpus.contains(id)).or(numa.first());
    Ok(Cpu { id, numa: home.map_or(0, |numa| numa.id), core: siblings.first().unwrap_or(id) })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::node::tests::Fixture;

    /// A machine with `numa` NUMA nodes of `cores` cores of `threads` processors each; numbers
    /// as Linux gives them: first one processor of every core, then the second ones.
    pub fn machine(numa: u32, cores: u32, threads: u32) -> Topology {
        let total = numa * cores;
        let cpu = |id: u32| Cpu { id, numa: id % total / cores, core: id % total };
        let cpus: Vec<Cpu> = (0..total * threads).map(cpu).collect();
        let of = |node: u32| cpus.iter().filter(|cpu| cpu.numa == node).map(|cpu| cpu.id).collect();
        let nodes = (0..numa).map(|id| Numa { id, cpus: of(id), available: Some(1 << 30) }).collect();
        Topology { online: cpus.iter().map(|cpu| cpu.id).collect(), numa: nodes, cpus }
    }

    #[test]
    fn two_nodes_with_siblings() {
        let root = Fixture::new();
        root.file("sys/devices/system/cpu/online", "0-3\n");
        root.file("sys/devices/system/node/online", "0-1\n");
        for (node, cpus) in [(0, "0,2\n"), (1, "1,3\n")] {
            root.file(&format!("sys/devices/system/node/node{node}/cpulist"), cpus);
            root.file(
                &format!("sys/devices/system/node/node{node}/meminfo"),
                "Node 0 MemFree: 1024 kB\nNode 0 FilePages: 8 kB\nNode 0 Shmem: 4 kB\n",
            );
        }
        for (cpu, siblings) in [(0, "0,2\n"), (1, "1,3\n"), (2, "0,2\n"), (3, "1,3\n")] {
            root.file(&format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"), siblings);
        }
        let topology = Topology::read(root.path(), &"0-2".parse().expect("a list")).expect("readable");
        assert_eq!(
            topology.cpus,
            [Cpu { id: 0, numa: 0, core: 0 }, Cpu { id: 1, numa: 1, core: 1 }, Cpu { id: 2, numa: 0, core: 0 }]
        );
        assert_eq!(topology.numa(1).and_then(|numa| numa.available), Some(1028 << 10));
        assert_eq!(topology.numa_ids().to_string(), "0-1");
        let order: Vec<u32> = topology.in_order(&topology.online).iter().map(|cpu| cpu.id).collect();
        assert_eq!(order, [0, 2, 1]);
    }

    #[test]
    fn a_kernel_without_numa_has_one_node() {
        let root = Fixture::new();
        root.file("sys/devices/system/cpu/online", "0-1\n");
        let topology = Topology::read(root.path(), &"0-7".parse().expect("a list")).expect("readable");
        assert_eq!(topology.cpus.len(), 2);
        assert_eq!(topology.numa, [Numa { id: 0, cpus: topology.online.clone(), available: None }]);
    }

    #[test]
    fn nonsense_is_named() {
        let root = Fixture::new();
        root.file("sys/devices/system/cpu/online", "many\n");
        let error = Topology::read(root.path(), &CpuSet::default()).expect_err("not a list");
        assert!(error.to_string().contains("cpu/online"), "{error}");
    }
}
