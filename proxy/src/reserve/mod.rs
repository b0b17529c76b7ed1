//! What a cell gets of the node: decided, written down, taken, and given back on drop.
//!
//! [`cores`] and [`memory`] decide, as pure functions; [`ledger`] keeps who holds what, so that
//! proxies which start in the same moment share the node, and so that nothing is lost when one
//! of them is killed; [`keeper`] then gives it back. [`bare`] is all of this for cores that are
//! taken out of Linux.

pub mod bare;
pub mod cores;
pub mod keeper;
pub mod lease;
pub mod ledger;
pub mod memory;
pub mod processes;
pub mod shared_pool;

use std::path::Path;
use std::time::Duration;

use crate::cli::{NumaChoice, Platform, Run};
use crate::launcher::{self, Rank};
use crate::node::cpus::CpuSet;
use crate::node::memory::Memory;
use crate::node::pages::{SHMEM_SETTING, Transparent};
use crate::node::topology::{Cpu, Topology};
use crate::node::{Node, Unreadable, huge, processors};
use crate::sys::Binding;
use bare::Refused;
use bare::choice::{self, Choice};
use bare::record::Record;
use cores::{Assignment, Question};
use ledger::{Entry, Holding, Lease, Ledger, LedgerError, Locked};
use memory::{Parts, human};
use processes::Process;
use shared_pool::PoolMemory;

/// How long a core or a worker polls before it sleeps, where neither takes time from the other:
/// longer than a forwarded call that does not block, shorter than anyone notices.
const SPIN: Duration = Duration::from_micros(20);

/// Why a cell can't get what it was to have.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What Linux says about the machine.
    #[error(transparent)]
    Node(#[from] Unreadable),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Bare cores.
    #[error(transparent)]
    Bare(#[from] Refused),
    /// `--cores N` with too large a number.
    #[error("--cores {asked}: this process may use {} cores ({there}); ask for fewer or widen the affinity mask", .there.len())]
    TooManyCores {
        /// How many.
        asked: usize,
        /// What there is.
        there: CpuSet,
    },
    /// More cores than a cell can have.
    #[error("a cell of {asked} cores: the most is {most} cores; use more cells")]
    CellTooWide {
        /// How many.
        asked: usize,
        /// How many could be.
        most: usize,
    },
    /// `--cores LIST` with cores that are not there.
    #[error("--cores: {cores} not online; the cores of this node are {online}")]
    NotOnline {
        /// Which.
        cores: CpuSet,
        /// Which are.
        online: CpuSet,
    },
    /// `--cores LIST` with cores outside the affinity mask.
    #[error("--cores: {cores} not in this process's affinity mask {allowed}; choose from the mask or widen it")]
    NotAllowed {
        /// Which.
        cores: CpuSet,
        /// Which are.
        allowed: CpuSet,
    },
    /// `--numa` with a number that is not there.
    #[error("--numa {id}: there is no such NUMA node; this machine has {there}")]
    NoSuchNuma {
        /// Which.
        id: u32,
        /// Which there are.
        there: CpuSet,
    },
    /// `--numa` with a node on which we may not run.
    #[error(
        "--numa {id}: none of its cores is in this process's affinity mask {allowed}; choose another or widen the mask"
    )]
    NumaWithoutCores {
        /// Which.
        id: u32,
        /// What is allowed.
        allowed: CpuSet,
    },
    /// More memory than there is.
    #[error("--memory {}: only {} of memory can be had; ask for less", human(*.asked), human(*.available))]
    TooMuchMemory {
        /// How much.
        asked: u64,
        /// How much there is.
        available: u64,
    },
    /// Less memory than a cell can live on.
    #[error("{} of memory: a cell needs at least {}; ask for more with --memory or use fewer cells", human(*.bytes), human(memory::LEAST))]
    TooLittleMemory {
        /// How much.
        bytes: u64,
    },
}

/// How the memory comes by large pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LargePages {
    /// Linux gives them when asked.
    Given,
    /// Linux would, if a setting is changed while cells live.
    AfterChange,
    /// No.
    None,
}

/// What a cell is to get.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Its cores, and those of its proxy.
    pub cores: Assignment,
    /// Bytes of memory, at most.
    pub memory: u64,
    /// Bytes that can be had in pages of any size, of which no more than `memory` in all.
    pub small: u64,
    /// Bytes that come from the pool of large pages, for cells that are Linux processes.
    pub pool: u64,
    /// The NUMA node of the memory, where there is a choice.
    pub binding: Option<(u32, Binding)>,
    /// Whether it comes in large pages.
    pub large_pages: LargePages,
    /// Which rank it is.
    pub rank: Option<Rank>,
    /// For bare cores: all processors that go offline, the cell's own among them.
    pub offline: Option<Vec<Cpu>>,
}

impl Plan {
    /// The NUMA node of the memory; the first one where there is no choice.
    pub fn numa_node(&self) -> u32 {
        self.binding.map(|(id, _)| id).or(self.cores.numa).unwrap_or(0)
    }

    /// How long an idle core polls its rings.
    pub fn spin(&self) -> Duration {
        if self.cores.is_shared_with_proxy { Duration::ZERO } else { SPIN }
    }
}

/// What decides on a plan, besides other cells.
#[derive(Debug)]
pub struct Circumstances {
    /// The machine.
    pub node: Node,
    /// Which rank this is.
    pub rank: Option<Rank>,
    launcher_affinity: Option<CpuSet>,
    launcher: Option<Process>,
    is_root: bool,
}

/// What other cells hold.
#[derive(Debug, Default)]
struct Held {
    /// Processors of bare cells of the same job.
    family: Vec<Cpu>,
    /// Processors of bare cells of others.
    foreign_bare: CpuSet,
    /// Cores of cells that are Linux processes.
    shared: CpuSet,
    /// Cells of the same job that are Linux processes.
    job: usize,
}

impl Held {
    fn of(entries: &[Entry], job: Option<Process>) -> Self {
        let mut held = Held::default();
        for entry in entries {
            match &entry.bare {
                None => {
                    held.shared = held.shared.or(&entry.cores);
                    held.job += usize::from(job.is_some() && entry.job == job);
                }
                Some(record) if job.is_some() && entry.job == job => {
                    held.family.extend(record.cores.iter().map(bare::record::Core::place));
                }
                Some(_) => held.foreign_bare = held.foreign_bare.or(&entry.processors()),
            }
        }
        held
    }

    /// Those of bare cells.
    fn bare(&self) -> CpuSet {
        self.foreign_bare.or(&self.family.iter().map(|cpu| cpu.id).collect())
    }
}

impl Circumstances {
    /// Those of this process.
    pub fn read() -> Result<Self, Error> {
        let root = Path::new("/");
        let rank = launcher::rank(|name| std::env::var(name).ok()).unwrap_or_else(|contradiction| {
            tracing::warn!("{contradiction}");
            None
        });
        let parent = std::os::unix::process::parent_id();
        let launcher_affinity = rank.as_ref().and_then(|_| launcher::affinity_of_launcher(root, parent));
        let launcher = rank.as_ref().and_then(|_| launcher::process(root, parent));
        let launcher = launcher.and_then(|pid| Process::read(pid).ok());
        // In a container, root may see a setting that is not its to change.
        let setting = root.join(SHMEM_SETTING);
        let can_change = nix::unistd::access(&setting, nix::unistd::AccessFlags::W_OK).is_ok();
        let is_root = nix::unistd::geteuid().is_root() && can_change;
        Ok(Circumstances { node: Node::read(root)?, rank, launcher_affinity, launcher, is_root })
    }
}

/// Decides what a cell gets while others hold what `entries` say. Processors that are offline, or
/// about to be, are nothing to cells that are Linux processes.
fn plan(options: &Run, circumstances: &Circumstances, entries: &[Entry]) -> Result<Plan, Error> {
    let held = Held::of(entries, circumstances.launcher);
    match options.platform {
        Platform::Partition => plan_bare(Path::new("/"), options, circumstances, &held),
        _ => plan_shared(options, circumstances, &held),
    }
}

fn plan_shared(options: &Run, circumstances: &Circumstances, held: &Held) -> Result<Plan, Error> {
    let Circumstances { node, rank, launcher_affinity, is_root, .. } = circumstances;
    let for_linux = node.affinity.without(&held.bare());
    let cores = cores::assign(&Question {
        topology: &node.topology,
        affinity: if for_linux.is_empty() { &node.affinity } else { &for_linux },
        launcher_affinity: launcher_affinity.as_ref(),
        rank: rank.as_ref(),
        leased: &held.shared,
        cores: options.cores.as_ref(),
        numa: options.numa,
    })?;
    let binding = binding(node, options.numa, &cores)?;
    let mut there = node.memory;
    if let Some((numa, Binding::Strict)) = binding
        && let Some(available) = node.topology.numa(numa).and_then(|numa| numa.available)
    {
        there.available = there.available.min(available);
    }
    let large_pages = match node.large_pages.transparent {
        Transparent::Given => LargePages::Given,
        Transparent::SwitchedOff if *is_root => LargePages::AfterChange,
        Transparent::SwitchedOff | Transparent::Refused => LargePages::None,
    };
    let pool = match large_pages {
        LargePages::None => {
            let spare = shared_pool::spare(Path::new("/"), binding.map(|(id, _)| id))?;
            shared_pool::share(spare, rank.as_ref(), held.job)
        }
        LargePages::Given | LargePages::AfterChange => 0,
    };
    let ranks = rank.as_ref().map_or(1, |rank| rank.local_size);
    let Parts { memory, small, pool } = memory::parts(options.memory, there, ranks, pool)?;
    Ok(Plan { cores, memory, small, pool, binding, large_pages, rank: rank.clone(), offline: None })
}

/// The plan for bare cores. The machine is looked at once more: other cells may have taken cores, or
/// given them back, since `circumstances` were read.
fn plan_bare(root: &Path, options: &Run, circumstances: &Circumstances, held: &Held) -> Result<Plan, Error> {
    let everything = Topology::read_all(root)?;
    let foreign = held.foreign_bare.or(&held.shared);
    let Choice { assignment: cores, offline, numa } = choice::choose(&choice::Question {
        topology: &everything,
        fixed: &processors::fixed(root, &everything.online),
        affinity: &circumstances.node.affinity,
        launcher_affinity: circumstances.launcher_affinity.as_ref(),
        rank: circumstances.rank.as_ref(),
        family: &held.family,
        foreign: &foreign,
        foreign_bare: &held.foreign_bare,
        cores: options.cores.as_ref(),
        numa: options.numa,
    })?;
    let of_node = memory_of_node(root, numa, circumstances.node.memory)?;
    let on_node = |cpus: &[Cpu]| cpus.iter().filter(|cpu| cpu.numa == numa).count() as u64;
    let is_ours = |cpu: &&Cpu| held.family.iter().all(|other| other.id != cpu.id);
    let left: Vec<Cpu> = everything.cpus.iter().filter(is_ours).copied().collect();
    let others = on_node(&held.family);
    let cores_of_node =
        bare::amount::Cores { taken: on_node(&offline), left: on_node(&left), all: on_node(&left) + others };
    let memory = bare::amount::amount(options.memory, of_node, circumstances.node.memory.total, cores_of_node)?;
    Ok(Plan {
        cores,
        memory,
        small: memory,
        pool: 0,
        binding: Some((numa, Binding::Strict)),
        large_pages: LargePages::Given,
        rank: circumstances.rank.clone(),
        offline: Some(offline),
    })
}

/// Memory of a NUMA node, free pages of its pool included.
fn memory_of_node(root: &Path, numa: u32, machine: Memory) -> Result<Memory, Unreadable> {
    let Memory { total, available } = huge::memory(root, numa)?.unwrap_or(machine);
    let free = huge::Pool::read(root, numa)?.usable(huge::promised(root)?);
    Ok(Memory { total, available: available + free * bare::CHUNK })
}

/// Strictly where the user says; preferably where all the cores are; nowhere in particular,
/// which leaves each page to the core that touches it first, when they lie on several nodes.
fn binding(node: &Node, choice: NumaChoice, cores: &Assignment) -> Result<Option<(u32, Binding)>, Error> {
    let there = node.topology.numa_ids();
    match choice {
        NumaChoice::Node(id) if !there.contains(id) => Err(Error::NoSuchNuma { id, there }),
        _ if there.len() < 2 => Ok(None),
        NumaChoice::Node(id) => Ok(Some((id, Binding::Strict))),
        NumaChoice::Auto => Ok(cores.numa.map(|id| (id, Binding::Preferred))),
    }
}

/// What a run would get; takes nothing.
pub fn rehearse(options: &Run, circumstances: &Circumstances) -> Result<Plan, Error> {
    let entries = holders(&Ledger::open()?.lock()?)?;
    plan(options, circumstances, &entries)
}

/// The cells that hold something: those that live, and dead ones whose cores are not back yet.
fn holders(locked: &Locked) -> Result<Vec<Entry>, LedgerError> {
    let holds = |(entry, is_dead): &(Entry, bool)| !is_dead || entry.bare.is_some();
    Ok(locked.entries_with_state()?.into_iter().filter(holds).map(|(entry, _)| entry).collect())
}

/// Decides what a cell gets and enters it into the ledger, all under the ledger's lock: of two
/// proxies that start in the same moment, the second sees what the first has taken. No other
/// thread may have been started, and all signals must be held back.
pub fn reserve(options: &Run, circumstances: &Circumstances, program: &Path) -> Result<Reserved, Error> {
    let ledger = Ledger::open()?;
    let (locked, dead) = ledger.lock_cleared()?;
    for dead in dead {
        tracing::info!("gave back what the dead cell {} ({}) had left", dead.proxy.pid, dead.program.display());
    }
    let mut plan = plan(options, circumstances, &holders(&locked)?)?;
    let pool = take_pool(&mut plan, options)?;
    let claim = |cpus: &Vec<Cpu>| Record::claim(Path::new("/"), cpus);
    let mut lease = locked.enter(Holding {
        program: program.to_owned(),
        rank: plan.rank.clone(),
        platform: if plan.offline.is_some() { Platform::Partition } else { Platform::Process }.to_string(),
        cores: plan.cores.cell.clone(),
        memory: plan.memory,
        bare: plan.offline.as_ref().map(claim).transpose()?,
        job: circumstances.launcher,
    })?;
    if plan.offline.is_some() {
        // Bare cores have a keeper of their own, from when there is something to keep.
        return Ok(Reserved { plan, lease, pool });
    }
    take_large_pages(&locked, &mut plan, &mut lease)?;
    drop(locked);
    lease.guard();
    Ok(Reserved { plan, lease, pool })
}

/// What a cell has got before it boots.
#[derive(Debug)]
pub struct Reserved {
    /// What was decided.
    pub plan: Plan,
    /// Its entry in the ledger.
    pub lease: Lease,
    /// What it has of the pool of large pages.
    pub pool: Option<PoolMemory>,
}

/// Takes what the plan has of the pool, if it can be had: others may have been faster, ledger or
/// not. Without it, a cell gets what the other memory allows.
fn take_pool(plan: &mut Plan, options: &Run) -> Result<Option<PoolMemory>, Error> {
    if plan.pool == 0 {
        return Ok(None);
    }
    match PoolMemory::take(plan.pool, plan.binding) {
        Ok(pool) => Ok(Some(pool)),
        Err(_) if options.memory.is_some() && plan.memory > plan.small => {
            Err(Error::TooMuchMemory { asked: plan.memory, available: plan.small })
        }
        Err(error) => {
            tracing::info!("{} of the pool of large pages can't be had: {error}", human(plan.pool));
            plan.pool = 0;
            plan.memory = plan.memory.min(plan.small);
            Ok(None)
        }
    }
}

/// Sees to it that the plan's large pages can be had. Also where Linux gives them already
/// because of another cell's change: that change must last as long as this cell.
fn take_large_pages(locked: &Locked, plan: &mut Plan, lease: &mut Lease) -> Result<(), LedgerError> {
    let setting = Path::new("/").join(SHMEM_SETTING);
    let is_lent =
        || Ok::<_, LedgerError>(locked.living()?.iter().flat_map(|entry| &entry.settings).any(|s| s.path == setting));
    let must_change =
        plan.large_pages == LargePages::AfterChange || (plan.large_pages == LargePages::Given && is_lent()?);
    if must_change {
        plan.large_pages = if locked.change(lease, &setting, "advise")? { LargePages::Given } else { LargePages::None };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::memory::Memory;
    use crate::node::pages;
    use crate::node::topology::tests::machine;
    use clap::Parser;

    fn circumstances(numa: u32) -> Circumstances {
        let topology = machine(numa, 2, 1);
        let node = Node {
            affinity: topology.online.clone(),
            topology,
            memory: Memory { total: 8 << 30, available: 4 << 30 },
            large_pages: pages::LargePages { transparent: Transparent::SwitchedOff, pools: Vec::new() },
            has_fsgsbase: true,
        };
        Circumstances { node, rank: None, launcher_affinity: None, launcher: None, is_root: true }
    }

    fn planned(words: &[&str], circumstances: &Circumstances) -> Result<Plan, Error> {
        let words = [&["tacet", "run"], words, &["x"]].concat();
        let crate::cli::Command::Run(options) = crate::cli::Cli::parse_from(words).command else { panic!("not a run") };
        plan(&options, circumstances, &[])
    }

    #[test]
    fn memory_follows_the_cores() {
        let two = circumstances(2);
        let plan = |words: &[&str]| planned(words, &two).expect("possible").binding;
        assert_eq!(plan(&["--cores", "2-3"]), Some((1, Binding::Preferred)));
        assert_eq!(plan(&["--cores", "1-2"]), None, "cores on two nodes");
        assert_eq!(plan(&["--cores", "0-1", "--numa", "1"]), Some((1, Binding::Strict)));
        assert_eq!(planned(&["--numa", "0"], &circumstances(1)).expect("possible").binding, None, "no choice");
    }

    #[test]
    fn a_strict_node_limits_the_memory() {
        // The fixture's NUMA nodes have 1 GiB each.
        let two = circumstances(2);
        assert!(planned(&["--numa", "1", "--memory", "2G"], &two).is_err());
        assert!(planned(&["--memory", "2G"], &two).is_ok());
        assert!(planned(&["--numa", "1", "--memory", "1G"], &two).is_ok());
    }

    #[test]
    fn a_numa_node_that_is_not_there() {
        let line = planned(&["--numa", "7", "--cores", "0-0"], &circumstances(2)).expect_err("no node 7").to_string();
        assert!(line.contains("--numa 7") && line.contains("0-1"), "{line}");
    }

    #[test]
    fn only_root_changes_settings() {
        let mut user = circumstances(1);
        assert_eq!(planned(&[], &user).expect("possible").large_pages, LargePages::AfterChange);
        user.is_root = false;
        assert_eq!(planned(&[], &user).expect("possible").large_pages, LargePages::None);
    }

    #[test]
    fn only_cores_of_its_own_let_a_proxy_spin() {
        let one = circumstances(1);
        assert_eq!(planned(&[], &one).expect("possible").spin(), Duration::ZERO);
        assert_eq!(planned(&["--cores", "1"], &one).expect("possible").spin(), SPIN);
    }
}
