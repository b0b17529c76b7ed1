//! Giving back what a bare cell holds, by its record alone.
//!
//! The order matters. Cores come first: Linux resets each of them, and from then on nothing of the
//! cell runs any more. Only then can what they ran on be given back: low pages, memory, the pool.
//! Each step is noted as soon as it is done, and can be repeated: whoever comes after one who was
//! killed half way goes on from there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::apic::Apic;
use super::cores::{self, Stubborn};
use super::record::{Core, Record};
use super::{Note, low, mount, pool};
use crate::node::processors;

/// Something that could not be given back.
#[derive(Debug, thiserror::Error)]
pub enum Left {
    /// A core.
    #[error("{stubborn}: try `echo 1 > /sys/devices/system/cpu/cpu{cpu}/online`", stubborn = .0, cpu = .0.cpu)]
    Core(Stubborn),
    /// Content of low memory.
    #[error("low memory at {at:#x} is not restored: {why}")]
    Low {
        /// Where.
        at: u32,
        /// Why.
        why: String,
    },
    /// Memory that a core may still run on.
    #[error("the memory {} is kept: a core that did not come back may still run on it", .0.display())]
    InUse(PathBuf),
    /// The memory's file.
    #[error("cannot remove {}: {error}", .path.display())]
    Memory {
        /// Which.
        path: PathBuf,
        /// What Linux said.
        error: io::Error,
    },
    /// The pool of large pages.
    #[error("the pool of large pages of NUMA node {numa} is not lowered by {pages}: {why}")]
    Pool {
        /// Which.
        numa: u32,
        /// By how much it was raised.
        pages: u64,
        /// Why.
        why: String,
    },
    /// The mount.
    #[error("cannot unmount {}: {error}", .path.display())]
    Mount {
        /// Where.
        path: PathBuf,
        /// What Linux said.
        error: io::Error,
    },
}

/// Gives back all that `record` says, and takes it out of there; `note` is told after each step.
/// Where others have the mount, it stays. `let_go` drops what this process itself holds, once no
/// core uses it any more. Gives what is left; the rest is done all the same.
pub fn all(
    root: &Path,
    record: &mut Record,
    others_mount: bool,
    note: &mut Note,
    mut let_go: impl FnMut(),
) -> Vec<Left> {
    let (mut left, running) = bring_back(root, record, note);
    left.extend(restore_low(root, record, note));
    let_go();
    if running {
        left.extend(record.memory.clone().map(Left::InUse));
        return left;
    }
    let memory = remove_memory(record, note);
    let is_gone = memory.is_none();
    left.extend(memory);
    if is_gone {
        left.extend(lower_pool(root, record, note));
        left.extend(unmount(record, others_mount, note));
    }
    left
}

/// Tells the ledger how far we are. Giving back goes on when that fails: the steps so far can be
/// repeated.
fn noted(record: &Record, note: &mut Note) {
    if let Err(error) = note(record) {
        tracing::warn!("{error}");
    }
}

/// Brings the cores back, the last one first. Gives those that did not come, and whether one of
/// them may still run what the cell ran: Linux may have refused before it reset the core, so we
/// reset it ourselves.
fn bring_back(root: &Path, record: &mut Record, note: &mut Note) -> (Vec<Left>, bool) {
    let (mut left, mut running) = (Vec::new(), false);
    let mut stay = Vec::new();
    while let Some(core) = record.cores.pop() {
        match cores::bring_online(root, core.cpu) {
            Ok(()) => {
                let remaining = Record { cores: [record.cores.clone(), stay.clone()].concat(), ..record.clone() };
                noted(&remaining, note);
            }
            Err(stubborn) => {
                running |= !stands_still(root, core);
                left.push(Left::Core(stubborn));
                stay.push(core);
            }
        }
    }
    stay.reverse();
    record.cores = stay;
    (left, running)
}

/// Resets a core that Linux does not run on. One that it may run on is never reset.
fn stands_still(root: &Path, core: Core) -> bool {
    if processors::is_online(root, core.cpu) != Some(false) {
        return false;
    }
    let stopped = Apic::open(root).map_err(|error| error.to_string());
    let stopped = stopped.and_then(|apic| apic.init(core.apic).map_err(|error| error.to_string()));
    stopped.inspect_err(|error| tracing::warn!("cannot stop core {}: {error}", core.cpu)).is_ok()
}

fn restore_low(root: &Path, record: &mut Record, note: &mut Note) -> Option<Left> {
    let saved = record.low.as_ref()?;
    if let Err(why) = low::restore(root, saved) {
        return Some(Left::Low { at: saved.at, why });
    }
    record.low = None;
    noted(record, note);
    None
}

fn remove_memory(record: &mut Record, note: &mut Note) -> Option<Left> {
    let path = record.memory.clone()?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Some(Left::Memory { path, error }),
        _ => record.memory = None,
    }
    noted(record, note);
    None
}

fn lower_pool(root: &Path, record: &mut Record, note: &mut Note) -> Option<Left> {
    let share = record.pool?;
    let why = pool::lower(root, record, note).err()?;
    Some(Left::Pool { numa: share.numa, pages: share.pages, why })
}

fn unmount(record: &mut Record, others_mount: bool, note: &mut Note) -> Option<Left> {
    let path = record.mount.clone()?;
    if !others_mount && let Err(error) = mount::remove(&path) {
        return Some(Left::Mount { path, error });
    }
    record.mount = None;
    noted(record, note);
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;
    use crate::reserve::bare::record::{PoolShare, Saved};
    use std::cell::RefCell;

    const LOW: u32 = 0x8000;

    fn core(cpu: u32) -> Core {
        Core { cpu, numa: 0, core: cpu, apic: cpu }
    }

    fn online(root: &Fixture, cpu: u32) -> String {
        fs::read_to_string(root.path().join(format!("sys/devices/system/cpu/cpu{cpu}/online"))).expect("own file")
    }

    /// A machine whose cores 1 and 2 are offline, with all else that a cell takes.
    fn taken() -> (Fixture, Record) {
        let root = Fixture::new();
        for cpu in [1, 2] {
            root.file(&format!("sys/devices/system/cpu/cpu{cpu}/online"), "0");
        }
        root.file("sys/devices/system/cpu/online", "0,3");
        let pool = "sys/kernel/mm/hugepages/hugepages-2048kB";
        for (name, value) in [("nr", "12"), ("free", "12"), ("surplus", "0"), ("resv", "0")] {
            root.file(&format!("{pool}/{name}_hugepages"), value);
        }
        let memory = root.file("dev/mem", "");
        fs::write(memory, vec![0xee; 1 << 20]).expect("own file");
        let record = Record {
            cores: vec![core(1), core(2)],
            low: Some(Saved::new(LOW, &[7; 8192])),
            memory: Some(root.file("huge/cell", "x")),
            pool: Some(PoolShare { numa: 0, pages: 2, without: None }),
            mount: Some(root.path().join("huge")),
        };
        (root, record)
    }

    fn registers_in_x2_mode() -> Vec<u8> {
        let mut content = vec![0; 0x900];
        // IA32_APIC_BASE: enabled, in x2APIC mode.
        content[0x1b..0x23].copy_from_slice(&0xfee0_0d00_u64.to_le_bytes());
        content
    }

    #[test]
    fn all_of_it_in_order() {
        let (root, mut record) = taken();
        let steps = RefCell::new(Vec::new());
        let mut note = |record: &Record| {
            steps.borrow_mut().push(format!("{} {}", record.cores.len(), record.memory.is_some()));
            Ok(())
        };
        let left = all(root.path(), &mut record, false, &mut note, || steps.borrow_mut().push("let go".into()));
        assert!(left.is_empty() && record.is_empty(), "{left:?} {record:?}");
        assert_eq!((online(&root, 1).as_str(), online(&root, 2).as_str()), ("1", "1"));
        let memory = fs::read(root.path().join("dev/mem")).expect("own file");
        assert_eq!(memory[LOW as usize - 1..LOW as usize + 1], [0xee, 7]);
        assert_eq!(memory[LOW as usize + 8191..LOW as usize + 8193], [7, 0xee]);
        assert!(!root.path().join("huge").exists());
        let size = root.path().join("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
        assert_eq!(fs::read_to_string(size).expect("own file"), "10");
        assert_eq!(steps.borrow()[..5], ["1 true", "0 true", "0 true", "let go", "0 false"]);
    }

    #[test]
    fn a_core_that_does_not_come_back_keeps_the_memory() {
        let (root, mut record) = taken();
        fs::remove_file(root.path().join("sys/devices/system/cpu/cpu2/online")).expect("own file");
        let left = all(root.path(), &mut record, false, &mut |_| Ok(()), || ());
        assert!(matches!(&left[..], [Left::Core(_), Left::InUse(_)]), "{left:?}");
        assert_eq!(online(&root, 1), "1", "the other one is back");
        assert_eq!(record.cores, [core(2)]);
        assert!(record.low.is_none() && record.memory.as_ref().is_some_and(|path| path.exists()));
    }

    #[test]
    fn a_core_that_was_stopped_does_not_keep_it() {
        let (root, mut record) = taken();
        fs::remove_file(root.path().join("sys/devices/system/cpu/cpu2/online")).expect("own file");
        let registers = root.file("dev/cpu/0/msr", "");
        fs::write(&registers, registers_in_x2_mode()).expect("own file");
        let left = all(root.path(), &mut record, true, &mut |_| Ok(()), || ());
        assert!(matches!(&left[..], [Left::Core(_)]), "{left:?}");
        assert_eq!(fs::read(registers).expect("own file")[0x830..0x838], 0x2_0000_4500_u64.to_le_bytes());
        assert_eq!(record, Record { cores: vec![core(2)], ..Record::default() });
        assert!(root.path().join("huge").exists(), "others have it");
    }

    #[test]
    fn a_core_that_linux_runs_on_is_never_reset() {
        let (root, _) = taken();
        root.file("sys/devices/system/cpu/online", "0,2-3");
        let registers = root.file("dev/cpu/0/msr", "");
        let content = registers_in_x2_mode();
        fs::write(&registers, &content).expect("own file");
        assert!(!stands_still(root.path(), core(2)));
        assert_eq!(fs::read(registers).expect("own file"), content);
        fs::remove_file(root.path().join("sys/devices/system/cpu/cpu2/online")).expect("own file");
        let mut record = Record { cores: vec![core(2)], ..Record::default() };
        let left = all(root.path(), &mut record, true, &mut |_| Ok(()), || ());
        assert!(left.is_empty() && record.is_empty(), "it is online, whoever brought it there: {left:?}");
    }

    #[test]
    fn what_fails_does_not_stop_the_rest() {
        let (root, mut record) = taken();
        fs::remove_file(root.path().join("dev/mem")).expect("own file");
        root.file("huge/stray", "x");
        let left = all(root.path(), &mut record, false, &mut |_| Ok(()), || ());
        assert!(matches!(&left[..], [Left::Low { at: LOW, .. }, Left::Mount { .. }]), "{left:?}");
        assert!(record.cores.is_empty() && record.memory.is_none() && record.pool.is_none());
        assert!(record.low.is_some() && record.mount.is_some(), "for the next one to try");
    }
}
