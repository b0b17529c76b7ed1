//! What is known of single processors: their APIC ids, and whether Linux can do without them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cpus::CpuSet;
use super::{Unreadable, read};

/// The APIC ids of all online processors, by Linux's numbers.
///
/// From `/proc/cpuinfo`, which tells the id that Linux itself uses for a number. The ACPI tables
/// have the ids too, but not the numbers: those come of an order of enumeration that is Linux's
/// own affair.
pub fn apic_ids(root: &Path) -> Result<BTreeMap<u32, u32>, Unreadable> {
    let text = read(root, "proc/cpuinfo")?;
    let value = |line: &str, name: &str| {
        let (key, value) = line.split_once(':')?;
        if key.trim_end() == name { value.trim().parse::<u32>().ok() } else { None }
    };
    let of_block = |block: &str| {
        let find = |name: &str| block.lines().find_map(|line| value(line, name));
        Some((find("processor")?, find("apicid")?))
    };
    Ok(text.split("\n\n").filter_map(of_block).collect())
}

/// The switch that takes a processor offline and brings it back.
pub fn online_file(root: &Path, cpu: u32) -> PathBuf {
    root.join(format!("sys/devices/system/cpu/cpu{cpu}/online"))
}

/// Whether Linux runs on a processor; `None` where it does not say.
pub fn is_online(root: &Path, cpu: u32) -> Option<bool> {
    let list = read(root, "sys/devices/system/cpu/online").ok()?.parse::<CpuSet>().ok()?;
    Some(list.contains(cpu))
}

/// Those of `cpus` that have no such switch: Linux can't do without them.
pub fn fixed(root: &Path, cpus: &CpuSet) -> CpuSet {
    cpus.iter().filter(|cpu| !online_file(root, *cpu).exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;

    #[test]
    fn ids_by_number() {
        let root = Fixture::new();
        let block = |cpu: u32, apic: u32| {
            format!("processor\t: {cpu}\nphysical id\t: 0\napicid\t\t: {apic}\ninitial apicid\t: 9{apic}\n\n")
        };
        root.file("proc/cpuinfo", &[block(0, 0), block(3, 256), "processor\t: 4\n\n".to_owned()].concat());
        let ids: Vec<(u32, u32)> = apic_ids(root.path()).expect("readable").into_iter().collect();
        assert_eq!(ids, [(0, 0), (3, 256)]);
    }

    #[test]
    fn online_ones() {
        let root = Fixture::new();
        assert_eq!(is_online(root.path(), 0), None);
        root.file("sys/devices/system/cpu/online", "0-2\n");
        assert_eq!((is_online(root.path(), 2), is_online(root.path(), 3)), (Some(true), Some(false)));
    }

    #[test]
    fn a_processor_without_a_switch_is_fixed() {
        let root = Fixture::new();
        root.file("sys/devices/system/cpu/cpu1/online", "1\n");
        let cpus: CpuSet = [0, 1, 2].into_iter().collect();
        assert_eq!(fixed(root.path(), &cpus).to_string(), "0,2");
    }
}
