//! What the ledger knows of a bare cell: enough to give back all of it without the proxy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::node::cpus::CpuSet;
use crate::node::processors;
use crate::node::topology::Cpu;
use crate::reserve::bare::Refused;

/// A processor that is taken offline. Where it lies is noted, because Linux tells that of online
/// ones only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Core {
    /// Linux's number.
    pub cpu: u32,
    /// Its NUMA node.
    pub numa: u32,
    /// Its physical core: the lowest number among the processors that share it.
    pub core: u32,
    /// Its APIC id.
    pub apic: u32,
}

impl Core {
    /// Where it lies.
    pub fn place(&self) -> Cpu {
        Cpu { id: self.cpu, numa: self.numa, core: self.core }
    }
}

/// Pages that a NUMA node's pool has been raised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolShare {
    /// The NUMA node.
    pub numa: u32,
    /// How many pages, at most.
    pub pages: u64,
    /// The pool's size without them, while it is being changed. Whoever finds this finds out how
    /// far the change got.
    pub without: Option<u64>,
}

/// Content of low memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Physical address.
    pub at: u32,
    /// The content, in hexadecimal digits.
    content: String,
}

impl Saved {
    /// Notes it.
    pub fn new(at: u32, content: &[u8]) -> Self {
        Saved { at, content: content.iter().map(|byte| format!("{byte:02x}")).collect() }
    }

    /// The content; `None` when what was noted is damaged.
    pub fn content(&self) -> Option<Vec<u8>> {
        let digits = self.content.as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        if digits.len().is_multiple_of(2) { digits.chunks_exact(2).map(byte).collect() } else { None }
    }
}

/// All that one bare cell holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its processors: those that it computes on, and what shares a physical core with them.
    pub cores: Vec<Core>,
    /// What is to be put back into low memory.
    pub low: Option<Saved>,
    /// The file that is its memory.
    pub memory: Option<PathBuf>,
    /// Its part of the pool of large pages.
    pub pool: Option<PoolShare>,
    /// Where the file system of such files is mounted.
    pub mount: Option<PathBuf>,
}

impl Record {
    /// Claims processors: nobody else's plan has them from now on, and they are brought back
    /// online at the end, in whatever state they are then.
    pub fn claim(root: &Path, cpus: &[Cpu]) -> Result<Self, Refused> {
        let ids: BTreeMap<u32, u32> = processors::apic_ids(root)?;
        let core = |cpu: &Cpu| {
            let apic = *ids.get(&cpu.id).ok_or(Refused::NoApicId { cpu: cpu.id })?;
            Ok(Core { cpu: cpu.id, numa: cpu.numa, core: cpu.core, apic })
        };
        Ok(Record { cores: cpus.iter().map(core).collect::<Result<_, Refused>>()?, ..Record::default() })
    }

    /// The numbers of its processors.
    pub fn cpus(&self) -> CpuSet {
        self.cores.iter().map(|core| core.cpu).collect()
    }

    /// Whether nothing is held any more.
    pub fn is_empty(&self) -> bool {
        *self == Record::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;

    #[test]
    fn saved_content_survives() {
        let bytes: Vec<u8> = (0..=255).collect();
        let saved = Saved::new(0x8000, &bytes);
        let text = serde_json::to_string(&saved).expect("serialises");
        let read: Saved = serde_json::from_str(&text).expect("parses");
        assert_eq!((read.at, read.content()), (0x8000, Some(bytes)));
        assert_eq!(Saved { at: 0, content: "0g".into() }.content(), None);
        assert_eq!(Saved { at: 0, content: "012".into() }.content(), None);
        assert_eq!(Saved { at: 0, content: "é".into() }.content(), None);
    }

    #[test]
    fn claims_have_apic_ids() {
        let root = Fixture::new();
        root.file("proc/cpuinfo", "processor : 1\napicid : 8\n\nprocessor : 2\napicid : 9\n");
        let cpu = |id| Cpu { id, numa: 1, core: 1 };
        let record = Record::claim(root.path(), &[cpu(1), cpu(2)]).expect("known");
        assert_eq!(record.cores[1], Core { cpu: 2, numa: 1, core: 1, apic: 9 });
        assert_eq!(record.cpus().to_string(), "1-2");
        let line = Record::claim(root.path(), &[cpu(7)]).expect_err("not there").to_string();
        assert!(line.contains('7'), "{line}");
    }
}
