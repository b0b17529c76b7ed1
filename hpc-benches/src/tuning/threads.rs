//! All threads of the node: where each may run, moving them off the measured cores and back.
//!
//! A control group that takes cores away makes older kernels forget the affinity that a thread had asked for
//! (before Linux 6.2: kernel/cgroup/cpuset.c, `update_tasks_cpumask`). So the affinity of every thread is
//! noted before anything else, and what differs afterwards is put back.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::change::Undone;
use super::report::Item;
use super::system::{System, reason};
use crate::machine::cpu_set::CpuSet;

/// PF_NO_SETAFFINITY of include/linux/sched.h, in field 9 of `/proc/PID/stat`.
const BOUND_BY_THE_KERNEL: u64 = 0x0400_0000;
/// PF_KTHREAD.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// A thread that moves while its processes' threads are listed may start another one.
const PASSES: usize = 3;

/// A thread as `/proc` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Its number.
    pub id: u32,
    /// The process that it belongs to.
    pub process: u32,
    /// The parent of that process.
    pub parent: u32,
    /// When it began, in ticks since boot: tells numbers that are used again apart.
    pub start: u64,
    /// Its name.
    pub name: String,
    /// Flags of the kernel.
    pub flags: u64,
    /// Where it may run.
    pub cores: CpuSet,
}

/// Affinities of all threads at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The cores that threads were moved away from.
    isolated: CpuSet,
    /// All cores.
    online: CpuSet,
    /// Threads (number, start) by where they might run.
    threads: BTreeMap<CpuSet, Vec<(u32, u64)>>,
}

impl Thread {
    /// Whether it is one of Linux's own.
    pub fn is_of_the_kernel(&self) -> bool {
        self.flags & KERNEL_THREAD != 0
    }

    /// Whether Linux lets nobody move it.
    pub fn is_bound(&self) -> bool {
        self.flags & BOUND_BY_THE_KERNEL != 0
    }
}

/// Every thread of the node. Those that end meanwhile are left out.
pub fn all(system: &dyn System) -> Vec<Thread> {
    let numbers = |names: Vec<String>| names.into_iter().filter_map(|name| name.parse::<u32>().ok());
    let processes = numbers(system.list("/proc").unwrap_or_default());
    let mut threads = Vec::new();
    for process in processes {
        let tasks = system.list(&format!("/proc/{process}/task")).unwrap_or_default();
        threads.extend(numbers(tasks).filter_map(|id| read(system, process, id)));
    }
    threads
}

fn read(system: &dyn System, process: u32, id: u32) -> Option<Thread> {
    let folder = format!("/proc/{process}/task/{id}");
    let stat = system.read(&format!("{folder}/stat")).ok()?;
    let status = system.read(&format!("{folder}/status")).ok()?;
    let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    // The name may contain anything, parentheses too: fields are counted from the last one (proc(5)).
    let (before, after) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    Some(Thread {
        id,
        process,
        parent: fields.get(1)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
        name: before.split_once('(')?.1.to_owned(),
        flags: fields.get(6)?.parse().ok()?,
        cores: CpuSet::from_list(cores)?,
    })
}

impl Snapshot {
    /// The affinities as they are now.
    pub fn take(system: &dyn System, isolated: &CpuSet, online: &CpuSet) -> Self {
        let mut threads: BTreeMap<CpuSet, Vec<(u32, u64)>> = BTreeMap::new();
        for thread in all(system) {
            threads.entry(thread.cores).or_default().push((thread.id, thread.start));
        }
        Self { isolated: isolated.clone(), online: online.clone(), threads }
    }

    /// Workers of Linux's own that had cores of their own (a NUMA node's, say) and have lost them. Nobody but Linux
    /// can give them back. Some versions (seen: 6.1) change it when control groups take cores away (kernel/cgroup/cpuset.c).
    pub fn workers_that_linux_moved(&self, system: &dyn System) -> BTreeSet<String> {
        let old = self.by_thread();
        let has_lost =
            |t: &&Thread| old.get(&(t.id, t.start)).is_some_and(|&cores| *cores != t.cores && *cores != self.online);
        all(system).iter().filter(|t| t.is_bound()).filter(has_lost).map(|t| t.name.clone()).collect()
    }

    /// Moves every thread that can be moved off the isolated cores. Two items: processes, kernel threads.
    pub fn clear_cores(&self, system: &dyn System) -> Vec<Item> {
        let mut refused = BTreeMap::new();
        for _ in 0..PASSES {
            if !self.move_once(system, &mut refused) {
                break;
            }
        }
        let old = self.by_thread();
        let threads: Vec<Thread> = all(system).into_iter().filter(|t| t.process != std::process::id()).collect();
        [("processes", false), ("kernel threads", true)]
            .map(|(name, of_the_kernel)| {
                let of_kind = threads.iter().filter(|thread| thread.is_of_the_kernel() == of_the_kernel);
                self.item(name, of_kind, &old, &refused)
            })
            .to_vec()
    }

    /// One pass; says whether anything moved.
    fn move_once(&self, system: &dyn System, refused: &mut BTreeMap<u32, String>) -> bool {
        let mut moved = false;
        for thread in all(system) {
            let target = thread.cores.minus(&self.isolated);
            let stays = !thread.cores.touches(&self.isolated) || target.is_empty() || thread.is_bound();
            if stays || thread.process == std::process::id() || refused.contains_key(&thread.id) {
                continue;
            }
            match system.set_affinity(thread.id, &target) {
                Ok(()) => moved = true,
                Err(error) => drop(refused.insert(thread.id, reason(&error))),
            }
        }
        moved
    }

    fn item<'t>(
        &self,
        name: &str,
        threads: impl Iterator<Item = &'t Thread>,
        old: &BTreeMap<(u32, u64), &CpuSet>,
        refused: &BTreeMap<u32, String>,
    ) -> Item {
        let (mut moved, mut bound) = (0, 0);
        let (mut pinned, mut kept) = (BTreeSet::new(), BTreeSet::new());
        for thread in threads {
            let was_there = old.get(&(thread.id, thread.start)).is_some_and(|cores| cores.touches(&self.isolated));
            if !thread.cores.touches(&self.isolated) {
                moved += usize::from(was_there);
            } else if let Some(why) = refused.get(&thread.id) {
                kept.insert(format!("{} ({}, {why})", thread.name, thread.id));
            } else if thread.is_bound() {
                bound += 1;
            } else {
                pinned.insert(format!("{} ({})", thread.name, thread.id));
            }
        }
        let mut words = vec![format!("{moved} moved to {}", self.online.minus(&self.isolated))];
        if bound > 0 {
            words.push(format!("{bound} bound to the core by Linux stay"));
        }
        if !pinned.is_empty() {
            words.push(format!("pinned there by their owners and left: {}", few(&pinned)));
        }
        if !kept.is_empty() {
            words.push(format!("refused by Linux: {}", few(&kept)));
        }
        let detail = words.join("; ");
        match (moved, kept.is_empty()) {
            (0, true) => Item::already(name, detail),
            (0, false) => Item::not_possible(name, detail),
            _ => Item::applied(name, detail),
        }
    }

    fn by_thread(&self) -> BTreeMap<(u32, u64), &CpuSet> {
        self.threads.iter().flat_map(|(cores, threads)| threads.iter().map(move |&thread| (thread, cores))).collect()
    }

    /// Lets every thread run where it might before. One that was born meanwhile gets what its process, or the
    /// nearest ancestor that was there before, might have.
    pub fn restore(&self, system: &dyn System) -> Undone {
        let old = self.by_thread();
        let threads = all(system);
        let leaders: BTreeMap<u32, &Thread> = threads.iter().filter(|t| t.id == t.process).map(|t| (t.id, t)).collect();
        let mut failed = BTreeSet::new();
        for thread in &threads {
            let Some(cores) = self.origin(thread, &old, &leaders) else { continue };
            if thread.cores == *cores || !self.is_our_doing(&thread.cores, cores) || thread.is_bound() {
                continue;
            }
            match system.set_affinity(thread.id, cores) {
                Err(error) if error.raw_os_error() != Some(libc::ESRCH) => {
                    failed.insert(format!("{} ({}, {})", thread.name, thread.id, reason(&error)));
                }
                _ => {}
            }
        }
        match failed.is_empty() {
            true => Undone::Back,
            false => Undone::Failed(format!("threads could not be let back onto {}: {}", self.isolated, few(&failed))),
        }
    }

    fn origin<'s>(
        &self,
        thread: &Thread,
        old: &BTreeMap<(u32, u64), &'s CpuSet>,
        leaders: &BTreeMap<u32, &Thread>,
    ) -> Option<&'s CpuSet> {
        if let Some(cores) = old.get(&(thread.id, thread.start)) {
            return Some(cores);
        }
        let mut ancestor = *leaders.get(&thread.process)?;
        // A chain of parents longer than there are processes would be a circle, seen while it changed.
        for _ in 0..leaders.len() {
            if let Some(cores) = old.get(&(ancestor.id, ancestor.start)) {
                return Some(cores);
            }
            ancestor = leaders.get(&ancestor.parent)?;
        }
        None
    }

    /// Whether this is where tuning put a thread that might run on `old` before, or where Linux puts all when
    /// a control group goes. Anything else somebody else has asked for meanwhile.
    fn is_our_doing(&self, now: &CpuSet, old: &CpuSet) -> bool {
        *now == old.minus(&self.isolated) || *now == self.online.minus(&self.isolated) || *now == self.online
    }
}

/// The first few, and how many more there are.
pub fn few(names: &BTreeSet<String>) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
