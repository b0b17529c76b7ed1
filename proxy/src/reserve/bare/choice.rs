//! Which cores are taken out of Linux for a cell, and where its proxy runs meanwhile.
//!
//! A pure decision, as that of [`crate::reserve::cores`], with other rules: what is taken are whole
//! physical cores; nobody shares them, neither other cells nor the proxy; core 0 always stays.
//!
//! Ranks of one job come in any order, and each sees a machine from which those before it have taken
//! their cores already. All of them must divide the same machine. So what the job's own cells hold
//! (the *family*) counts as if it were still there when shares are cut, and as taken when they are
//! given out. What others hold counts as not there.

use std::collections::BTreeMap;

use crate::cli::{Cores, NumaChoice};
use crate::launcher::Rank;
use crate::node::cpus::CpuSet;
use crate::node::topology::{Cpu, Topology};
use crate::reserve::Error;
use crate::reserve::bare::Refused;
use crate::reserve::cores::Assignment;

/// All that the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    /// NUMA nodes, and all online processors.
    pub topology: &'q Topology,
    /// Processors that Linux can't do without.
    pub fixed: &'q CpuSet,
    /// What Linux lets this process use.
    pub affinity: &'q CpuSet,
    /// What Linux lets the launcher use, where there is one that can be asked.
    pub launcher_affinity: Option<&'q CpuSet>,
    /// Which rank this is.
    pub rank: Option<&'q Rank>,
    /// Processors of bare cells of the same job.
    pub family: &'q [Cpu],
    /// Processors of all other cells.
    pub foreign: &'q CpuSet,
    /// Processors of bare cells among those.
    pub foreign_bare: &'q CpuSet,
    /// `--cores`.
    pub cores: Option<&'q Cores>,
    /// `--numa`.
    pub numa: NumaChoice,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The cell's cores and those of its proxy.
    pub assignment: Assignment,
    /// All processors that go offline, in the order in which they go.
    pub offline: Vec<Cpu>,
    /// The NUMA node of the memory.
    pub numa: u32,
}

/// A physical core.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unit {
    numa: u32,
    cpus: Vec<Cpu>,
}

impl Unit {
    fn set(&self) -> CpuSet {
        self.cpus.iter().map(|cpu| cpu.id).collect()
    }

    fn meets(&self, set: &CpuSet) -> bool {
        self.cpus.iter().any(|cpu| set.contains(cpu.id))
    }

    fn lies_in(&self, set: &CpuSet) -> bool {
        self.cpus.iter().all(|cpu| set.contains(cpu.id))
    }
}

/// What there is to choose from.
struct Field<'q> {
    question: &'q Question<'q>,
    /// All physical cores that are online or the family's.
    units: Vec<Unit>,
    /// All processors that this job may use.
    allowed: CpuSet,
    family: CpuSet,
    /// What stays with Linux for the proxies.
    kept: CpuSet,
}

/// What was chosen, before it is looked at from all sides.
struct Chosen {
    cell: CpuSet,
    units: Vec<Unit>,
    /// What other ranks will take.
    spoken_for: CpuSet,
    reason: &'static str,
}

/// Decides.
pub fn choose(question: &Question) -> Result<Choice, Error> {
    let field = Field::of(question);
    field.check_numa()?;
    let chosen = match question.cores {
        Some(Cores::List(list)) => field.exactly(list)?,
        Some(Cores::Count(count)) => field.so_many(*count as usize)?,
        None => field.share()?,
    };
    let most = shm_ipc::layout::MAX_CORES as usize;
    if chosen.cell.len() > most {
        return Err(Error::CellTooWide { asked: chosen.cell.len(), most });
    }
    let offline: Vec<Cpu> = chosen.units.iter().flat_map(|unit| unit.cpus.iter().copied()).collect();
    let numa = match question.numa {
        NumaChoice::Node(id) => id,
        NumaChoice::Auto => most_common_numa(&offline, &chosen.cell),
    };
    let is_on_one = offline.iter().filter(|cpu| chosen.cell.contains(cpu.id)).all(|cpu| cpu.numa == offline[0].numa);
    let assignment = Assignment {
        service: field.service(&chosen)?,
        is_shared_with_proxy: false,
        shared_with_cells: CpuSet::default(),
        numa: is_on_one.then(|| offline[0].numa),
        reason: chosen.reason,
        cell: chosen.cell,
    };
    Ok(Choice { assignment, offline, numa })
}

fn most_common_numa(offline: &[Cpu], cell: &CpuSet) -> u32 {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for cpu in offline.iter().filter(|cpu| cell.contains(cpu.id)) {
        *counts.entry(cpu.numa).or_default() += 1;
    }
    // The lowest of those that have most.
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map_or(0, |(numa, _)| numa)
}

fn units(topology: &Topology, family: &[Cpu]) -> Vec<Unit> {
    let is_family = |cpu: &Cpu| family.iter().any(|own| own.id == cpu.id);
    let online = topology.cpus.iter().filter(|cpu| !is_family(cpu));
    let mut units: BTreeMap<(u32, u32), Vec<Cpu>> = BTreeMap::new();
    for cpu in online.chain(family) {
        units.entry((cpu.numa, cpu.core)).or_default().push(*cpu);
    }
    let unit = |((numa, _), mut cpus): ((u32, u32), Vec<Cpu>)| {
        cpus.sort_by_key(|cpu| cpu.id);
        Unit { numa, cpus }
    };
    units.into_iter().map(unit).collect()
}

impl<'q> Field<'q> {
    fn of(question: &'q Question<'q>) -> Self {
        let units = units(question.topology, question.family);
        let family: CpuSet = question.family.iter().map(|cpu| cpu.id).collect();
        let online = question.topology.online.or(&family);
        let of_launcher = question.launcher_affinity.cloned().unwrap_or_default();
        let allowed = question.affinity.or(&of_launcher).or(&family).and(&online);
        let first_core: CpuSet = [0].into_iter().collect();
        // Core 0 where this job may use it; otherwise the first one that it may.
        let of_job = units.iter().filter(|unit| unit.meets(&allowed));
        let home = of_job.clone().find(|unit| unit.meets(&first_core)).or_else(|| of_job.clone().next());
        let kept = home.map(Unit::set).unwrap_or_default();
        Field { question, units, allowed, family, kept }
    }

    /// That `--numa` leaves something.
    fn check_numa(&self) -> Result<(), Error> {
        let NumaChoice::Node(id) = self.question.numa else { return Ok(()) };
        let there = self.question.topology.numa_ids();
        if !there.contains(id) {
            return Err(Error::NoSuchNuma { id, there });
        }
        let has_some = self.units.iter().any(|unit| unit.numa == id && unit.meets(&self.allowed));
        if !has_some && !matches!(self.question.cores, Some(Cores::List(_))) {
            return Err(Error::NumaWithoutCores { id, allowed: self.allowed.clone() });
        }
        Ok(())
    }

    /// Whether it can go offline and this job may take it: now, or had its family not done so.
    fn is_takeable(&self, unit: &Unit) -> bool {
        let stays = |cpu: &Cpu| cpu.id == 0 || self.question.fixed.contains(cpu.id);
        unit.lies_in(&self.allowed) && !unit.cpus.iter().any(stays) && !unit.meets(self.question.foreign)
    }

    /// What ranks share: the same for each of them, whoever was there before.
    fn candidates(&self) -> Vec<Unit> {
        let on_numa = |unit: &&Unit| match self.question.numa {
            NumaChoice::Node(id) => unit.numa == id,
            NumaChoice::Auto => true,
        };
        let candidates = self.units.iter().filter(|unit| self.is_takeable(unit) && !unit.meets(&self.kept));
        candidates.filter(on_numa).cloned().collect()
    }

    fn is_free(&self, unit: &Unit) -> bool {
        !unit.meets(&self.family)
    }

    fn no_core_left(&self) -> Error {
        let taken = self.family.or(self.question.foreign);
        Refused::NoCoreLeft { linux: self.allowed.without(&taken), held: taken }.into()
    }

    /// `--cores LIST`.
    fn exactly(&self, list: &CpuSet) -> Result<Chosen, Error> {
        let Question { topology, foreign, fixed, .. } = self.question;
        let taken = self.family.or(foreign);
        let units: Vec<Unit> = self.units.iter().filter(|unit| unit.meets(list)).cloned().collect();
        let closure = union(units.iter());
        let held = list.or(&closure).and(&taken);
        if !held.is_empty() {
            let free = union(self.candidates().iter().filter(|unit| self.is_free(unit)));
            return Err(Refused::Held { cores: held, free }.into());
        }
        if !list.is_subset(&topology.online) {
            return Err(Error::NotOnline { cores: list.without(&topology.online), online: topology.online.clone() });
        }
        if !closure.is_subset(&self.allowed) {
            return Err(Error::NotAllowed { cores: closure.without(&self.allowed), allowed: self.allowed.clone() });
        }
        for unit in &units {
            let stays = unit.cpus.iter().map(|cpu| cpu.id).find(|cpu| *cpu == 0 || fixed.contains(*cpu));
            if let Some(first) = stays {
                let cpu = list.and(&unit.set()).first().unwrap_or(first);
                return Err(Refused::Fixed { cpu, first }.into());
            }
        }
        let chosen = Chosen { cell: list.clone(), units, spoken_for: closure, reason: "named by --cores" };
        if self.linux_after(&chosen).is_empty() {
            let cpu = list.iter().last().unwrap_or_default();
            return Err(Refused::LastService { cpu }.into());
        }
        Ok(chosen)
    }

    /// `--cores N`: each on a physical core of its own while there are enough.
    fn so_many(&self, count: usize) -> Result<Chosen, Error> {
        let candidates = self.candidates();
        let free = self.free_ones(&candidates);
        if free.is_empty() {
            return Err(self.no_core_left());
        }
        let there = union(free.iter());
        if count > there.len() {
            return Err(Refused::TooManyCores { asked: count, there }.into());
        }
        let reason = "as many as --cores says, on physical cores that no other cell has";
        let Some(rank) = self.unbound_rank() else {
            let units = most_free(&free, count.min(free.len()), count);
            return Ok(Chosen { cell: pick(&units, count), spoken_for: union(units.iter()), units, reason });
        };
        let size = rank.local_size as usize;
        let fair = (candidates.len() / size).max(1);
        let threads = candidates.iter().map(|unit| unit.cpus.len()).min().unwrap_or(1);
        let width = count.min(fair.max(count.div_ceil(threads)));
        if let Some((units, spoken_for)) = self.place_in_line(&candidates, width, rank)
            && union(units.iter()).len() >= count
        {
            let reason = "as many as --cores says, in the order of local ranks";
            return Ok(Chosen { cell: pick(&units, count), spoken_for, units, reason });
        }
        let units = most_free(&free, width.min(free.len()), count);
        Ok(Chosen { cell: pick(&units, count), spoken_for: union(units.iter()), units, reason })
    }

    /// Without `--cores`.
    fn share(&self) -> Result<Chosen, Error> {
        let candidates = self.candidates();
        let free = self.free_ones(&candidates);
        if free.is_empty() {
            return Err(self.no_core_left());
        }
        let whole = |units: Vec<Unit>, reason| {
            let cell = union(units.iter());
            Chosen { spoken_for: cell.clone(), cell, units, reason }
        };
        let Some(rank) = self.question.rank.filter(|rank| rank.local_size > 1) else {
            return Ok(whole(free, "all that Linux can do without"));
        };
        let size = rank.local_size as usize;
        let fair = (candidates.len() / size).max(1);
        if self.unbound_rank().is_none() {
            return Ok(self.bound_share(&free, fair, size, whole));
        }
        if let Some((units, spoken_for)) = self.place_in_line(&candidates, fair, rank) {
            let reason = "the share of this local rank, of what Linux can do without";
            return Ok(Chosen { cell: union(units.iter()), spoken_for, units, reason });
        }
        let units = most_free(&free, fair.min(free.len()), 0);
        Ok(whole(units, "as many as the share of a local rank, where other cells are not"))
    }

    /// For a rank that the launcher has bound: what it was bound to; a fair part of that where ranks
    /// are bound to the same cores; others where nothing of it can be had.
    fn bound_share(
        &self,
        free: &[Unit],
        fair: usize,
        size: usize,
        whole: impl Fn(Vec<Unit>, &'static str) -> Chosen,
    ) -> Chosen {
        let affinity = self.question.affinity;
        let count = |set: &CpuSet| self.units.iter().filter(|unit| unit.meets(set)).count();
        let (bound, all) = (count(affinity), count(&self.of_launcher()));
        let own: Vec<Unit> = free.iter().filter(|unit| unit.meets(affinity)).cloned().collect();
        if own.is_empty() {
            let units = most_free(free, bound.clamp(1, fair).min(free.len()), 0);
            return whole(units, "in place of those that the launcher bound this rank to, which can't be had");
        }
        if bound * size <= all {
            return whole(own, "those that the launcher bound this rank to, but for what stays with Linux");
        }
        let units = most_free(&own, fair.min(own.len()), 0);
        whole(units, "a fair part of those that the launcher bound several ranks to")
    }

    /// Those of a rank's own binding first.
    fn free_ones(&self, candidates: &[Unit]) -> Vec<Unit> {
        let mut free: Vec<Unit> = candidates.iter().filter(|unit| self.is_free(unit)).cloned().collect();
        if self.question.rank.is_some() {
            free.sort_by_key(|unit| !unit.meets(self.question.affinity));
        }
        free
    }

    /// The rank, where there are others on the node and the launcher has left it to us to tell
    /// them apart.
    fn unbound_rank(&self) -> Option<&'q Rank> {
        let rank = self.question.rank.filter(|rank| rank.local_size > 1)?;
        let whole = self.of_launcher();
        whole.is_subset(&self.question.affinity.or(&self.family)).then_some(rank)
    }

    /// What the launcher may use, the family's included: all, where it can't be asked.
    fn of_launcher(&self) -> CpuSet {
        let online = &self.question.topology.online;
        self.question.launcher_affinity.unwrap_or(online).and(online).or(&self.family)
    }

    /// The units of this local rank, where each gets `width`, if nobody has them; and what all ranks
    /// get.
    fn place_in_line(&self, candidates: &[Unit], width: usize, rank: &Rank) -> Option<(Vec<Unit>, CpuSet)> {
        let (local, size) = (rank.local as usize, rank.local_size as usize);
        if width == 0 || width * size > candidates.len() {
            return None;
        }
        let by_node = candidates.chunk_by(|a, b| a.numa == b.numa).flat_map(|node| node.chunks_exact(width));
        let mut shares: Vec<&[Unit]> = by_node.take(size).collect();
        if shares.len() < size {
            shares = candidates.chunks_exact(width).take(size).collect();
        }
        let own = shares.get(local)?;
        let spoken_for = union(shares.iter().copied().flatten());
        own.iter().all(|unit| self.is_free(unit)).then(|| (own.to_vec(), spoken_for))
    }

    /// What Linux has left for this job when the cell's cores are gone.
    fn linux_after(&self, chosen: &Chosen) -> CpuSet {
        let bare = self.family.or(self.question.foreign_bare);
        self.allowed.without(&union(chosen.units.iter())).without(&bare)
    }

    /// Where the proxy runs: on what nobody else has if that can be, on the cell's NUMA nodes if that
    /// can be.
    fn service(&self, chosen: &Chosen) -> Result<CpuSet, Error> {
        let left = self.linux_after(chosen);
        if left.is_empty() {
            return Err(self.no_core_left());
        }
        let mut service = left;
        let of_cell: Vec<u32> = chosen.units.iter().map(|unit| unit.numa).collect();
        let near = union(self.units.iter().filter(|unit| of_cell.contains(&unit.numa)));
        for narrower in [service.without(self.question.foreign), service.without(&chosen.spoken_for), near] {
            let both = service.and(&narrower);
            if !both.is_empty() {
                service = both;
            }
        }
        Ok(service)
    }
}

fn union<'u>(units: impl Iterator<Item = &'u Unit>) -> CpuSet {
    units.flat_map(|unit| unit.cpus.iter().map(|cpu| cpu.id)).collect()
}

/// `width` units, and more until they have `processors` processors: of the first NUMA node with
/// enough; else of all.
fn most_free(free: &[Unit], width: usize, processors: usize) -> Vec<Unit> {
    let enough = |units: &[Unit]| {
        let mut sum = 0;
        let needed = units.iter().take_while(|unit| {
            let lacks = sum < processors;
            sum += unit.cpus.len();
            lacks
        });
        let needed = needed.count().max(width);
        (needed <= units.len() && sum >= processors).then(|| units[..needed].to_vec())
    };
    let mut nodes: BTreeMap<u32, Vec<Unit>> = BTreeMap::new();
    for unit in free {
        nodes.entry(unit.numa).or_default().push(unit.clone());
    }
    // In the order of preference that the units come in.
    let mut order: Vec<u32> = Vec::new();
    free.iter().for_each(|unit| {
        if !order.contains(&unit.numa) {
            order.push(unit.numa)
        }
    });
    order.iter().find_map(|numa| enough(&nodes[numa])).or_else(|| enough(free)).unwrap_or_else(|| free.to_vec())
}

/// `count` processors: one of each unit before any second one.
fn pick(units: &[Unit], count: usize) -> CpuSet {
    let mut keyed: Vec<(usize, usize, u32)> = Vec::new();
    for (place, unit) in units.iter().enumerate() {
        keyed.extend(unit.cpus.iter().enumerate().map(|(thread, cpu)| (thread, place, cpu.id)));
    }
    keyed.sort_unstable();
    keyed.into_iter().take(count).map(|(.., cpu)| cpu).collect()
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
