//! Which cores a cell gets, and where its proxy runs meanwhile.
//!
//! A pure decision over what the machine has, what the user asked for, what the launcher
//! decided and what other cells hold. On the `process` platform cells may share cores with
//! each other: that costs silence, not correctness, so it is told and never refused.

use std::collections::BTreeMap;

use crate::cli::{Cores, NumaChoice};
use crate::launcher::Rank;
use crate::node::cpus::CpuSet;
use crate::node::topology::{Cpu, Topology};
use crate::reserve::Error;

/// All that the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Question<'q> {
    /// Processors and NUMA nodes.
    pub topology: &'q Topology,
    /// What Linux lets this process use.
    pub affinity: &'q CpuSet,
    /// What Linux lets the launcher use, where there is one that can be asked.
    pub launcher_affinity: Option<&'q CpuSet>,
    /// Which rank this is.
    pub rank: Option<&'q Rank>,
    /// What other cells of this node hold.
    pub leased: &'q CpuSet,
    /// `--cores`.
    pub cores: Option<&'q Cores>,
    /// `--numa`.
    pub numa: NumaChoice,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The cell's cores.
    pub cell: CpuSet,
    /// Where the proxy's threads run.
    pub service: CpuSet,
    /// Whether these are the cell's own cores, because there are no others.
    pub is_shared_with_proxy: bool,
    /// Those of the cell's cores that other cells hold too.
    pub shared_with_cells: CpuSet,
    /// The NUMA node of all the cell's cores; `None` when they lie on several.
    pub numa: Option<u32>,
    /// Why these cores.
    pub reason: &'static str,
}

/// Cores for the cell, and cores that are spoken for besides: those of the other ranks.
struct Choice {
    cell: CpuSet,
    spoken_for: CpuSet,
    reason: &'static str,
}

impl Choice {
    fn alone(cell: CpuSet, reason: &'static str) -> Self {
        Choice { spoken_for: cell.clone(), cell, reason }
    }
}

/// Decides.
pub fn assign(question: &Question) -> Result<Assignment, Error> {
    let allowed = question.affinity.and(&question.topology.online);
    let candidates = on_numa_node(question, &allowed)?;
    let choice = match question.cores {
        Some(Cores::List(list)) => exactly(question, list, &allowed)?,
        Some(Cores::Count(count)) => so_many(question, *count as usize, &candidates)?,
        None => share_of_the_node(question, &candidates),
    };
    let most = shm_ipc::layout::MAX_CORES as usize;
    if choice.cell.len() > most {
        return Err(Error::CellTooWide { asked: choice.cell.len(), most });
    }
    let service = service_cores(question.topology, &allowed, &choice, question.leased);
    Ok(Assignment {
        is_shared_with_proxy: service.is_empty(),
        service: if service.is_empty() { choice.cell.clone() } else { service },
        shared_with_cells: choice.cell.and(question.leased),
        numa: common_numa_node(question.topology, &choice.cell),
        reason: choice.reason,
        cell: choice.cell,
    })
}

/// The allowed processors that `--numa` leaves.
fn on_numa_node(question: &Question, allowed: &CpuSet) -> Result<CpuSet, Error> {
    let NumaChoice::Node(id) = question.numa else { return Ok(allowed.clone()) };
    let numa = question.topology.numa(id);
    let numa = numa.ok_or_else(|| Error::NoSuchNuma { id, there: question.topology.numa_ids() })?;
    let candidates = allowed.and(&numa.cpus);
    let needs_some = !matches!(question.cores, Some(Cores::List(_)));
    if candidates.is_empty() && needs_some {
        return Err(Error::NumaWithoutCores { id, allowed: allowed.clone() });
    }
    Ok(candidates)
}

/// `--cores LIST`.
fn exactly(question: &Question, list: &CpuSet, allowed: &CpuSet) -> Result<Choice, Error> {
    let online = &question.topology.online;
    if !list.is_subset(online) {
        return Err(Error::NotOnline { cores: list.without(online), online: online.clone() });
    }
    if !list.is_subset(allowed) {
        return Err(Error::NotAllowed { cores: list.without(allowed), allowed: allowed.clone() });
    }
    Ok(Choice::alone(list.clone(), "named by --cores"))
}

/// `--cores N`: under a launcher that has not bound its ranks, the rank's place in line;
/// otherwise, or when another cell is there, where most is free.
fn so_many(question: &Question, count: usize, candidates: &CpuSet) -> Result<Choice, Error> {
    if count > candidates.len() {
        return Err(Error::TooManyCores { asked: count, there: candidates.clone() });
    }
    let order = spread(question.topology, candidates);
    if let Some(rank) = unbound_rank(question)
        && let Some(shares) = shares(&order, count, rank.local_size as usize)
        && shares[rank.local as usize].and(question.leased).is_empty()
    {
        return Ok(Choice {
            cell: shares[rank.local as usize].clone(),
            spoken_for: union(&shares),
            reason: "as many as --cores says, in the order of local ranks",
        });
    }
    let cell = most_free(&order, count, question.leased);
    Ok(Choice::alone(cell, "as many as --cores says, where other cells are not"))
}

/// Without `--cores`.
fn share_of_the_node(question: &Question, candidates: &CpuSet) -> Choice {
    let Some(rank) = unbound_rank(question) else {
        let reason = match question.rank {
            Some(rank) if rank.local_size > 1 => "those that the launcher bound this rank to",
            _ => "all that this process may use",
        };
        return Choice::alone(candidates.clone(), reason);
    };
    let order = packed(question.topology, candidates);
    let (local, size) = (rank.local as usize, rank.local_size as usize);
    if let Some(shares) = shares(&order, order.len() / size, size) {
        let spoken_for = union(&shares);
        return Choice { cell: shares[local].clone(), spoken_for, reason: "the share of this local rank" };
    }
    let cell = [order[local % order.len()].id].into_iter().collect();
    Choice {
        cell,
        spoken_for: candidates.clone(),
        reason: "one for this local rank, shared: there are more ranks than cores",
    }
}

/// The rank, where there are others on the node and the launcher has left it to us to tell them
/// apart.
fn unbound_rank<'q>(question: &Question<'q>) -> Option<&'q Rank> {
    let rank = question.rank.filter(|rank| rank.local_size > 1)?;
    let whole = question.launcher_affinity.unwrap_or(&question.topology.online);
    let is_bound = question.affinity.is_subset(whole) && question.affinity.len() < whole.len();
    (!is_bound).then_some(rank)
}

/// Neighbours side by side, siblings of a physical core included: for shares that take all.
fn packed(topology: &Topology, set: &CpuSet) -> Vec<Cpu> {
    topology.in_order(set)
}

/// One processor of each physical core before any second one: for shares that leave some.
fn spread(topology: &Topology, set: &CpuSet) -> Vec<Cpu> {
    let mut seen: BTreeMap<u32, u32> = BTreeMap::new();
    let mut keyed: Vec<(u32, u32, Cpu)> = Vec::new();
    for cpu in topology.in_order(set) {
        let siblings = seen.entry(cpu.core).or_default();
        keyed.push((cpu.numa, *siblings, cpu));
        *siblings += 1;
    }
    keyed.sort_by_key(|(numa, sibling, cpu)| (*numa, *sibling, cpu.core, cpu.id));
    keyed.into_iter().map(|(.., cpu)| cpu).collect()
}

/// `count` disjoint sets of `size` processors, none across NUMA nodes if that can be; `None`
/// when there are not enough.
fn shares(order: &[Cpu], size: usize, count: usize) -> Option<Vec<CpuSet>> {
    if size == 0 || size * count > order.len() {
        return None;
    }
    let set = |cpus: &[Cpu]| cpus.iter().map(|cpu| cpu.id).collect::<CpuSet>();
    let by_node = order.chunk_by(|a, b| a.numa == b.numa).flat_map(|node| node.chunks_exact(size));
    let mut shares: Vec<CpuSet> = by_node.map(set).take(count).collect();
    if shares.len() < count {
        shares = order.chunks_exact(size).map(set).take(count).collect();
    }
    Some(shares)
}

fn union(sets: &[CpuSet]) -> CpuSet {
    sets.iter().fold(CpuSet::default(), |all, set| all.or(set))
}

/// `count` processors: free ones of one NUMA node; else free ones anywhere; else of the NUMA
/// node with most free ones among those that are large enough; else whatever there is, free
/// ones first.
fn most_free(order: &[Cpu], count: usize, leased: &CpuSet) -> CpuSet {
    let mut order = order.to_vec();
    // Stable: within free and leased ones the order stays.
    order.sort_by_key(|cpu| leased.contains(cpu.id));
    let free = |cpus: &[Cpu]| cpus.iter().filter(|cpu| !leased.contains(cpu.id)).count();
    let mut nodes: BTreeMap<u32, Vec<Cpu>> = BTreeMap::new();
    for cpu in &order {
        nodes.entry(cpu.numa).or_default().push(*cpu);
    }
    let with_free = nodes.values().find(|node| free(node) >= count);
    let large_enough = || nodes.values().rev().filter(|node| node.len() >= count).max_by_key(|node| free(node));
    let from = match with_free {
        Some(node) => node,
        None if free(&order) >= count => &order,
        None => large_enough().unwrap_or(&order),
    };
    from.iter().take(count).map(|cpu| cpu.id).collect()
}

/// What is allowed and nobody's, if possible not on the cell's own physical cores and on its
/// NUMA nodes.
fn service_cores(topology: &Topology, allowed: &CpuSet, choice: &Choice, leased: &CpuSet) -> CpuSet {
    let of_cell = topology.in_order(&choice.cell);
    let others = allowed.without(&choice.cell).without(&choice.spoken_for).without(leased);
    let narrow = |set: CpuSet, keep: &dyn Fn(&Cpu) -> bool| {
        let kept: CpuSet = topology.in_order(&set).iter().filter(|cpu| keep(cpu)).map(|cpu| cpu.id).collect();
        if kept.is_empty() { set } else { kept }
    };
    let others = narrow(others, &|cpu| of_cell.iter().all(|own| own.core != cpu.core));
    narrow(others, &|cpu| of_cell.iter().any(|own| own.numa == cpu.numa))
}

fn common_numa_node(topology: &Topology, cell: &CpuSet) -> Option<u32> {
    let cpus = topology.in_order(cell);
    let first = cpus.first()?.numa;
    cpus.iter().all(|cpu| cpu.numa == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::topology::tests::machine;

    fn set(text: &str) -> CpuSet {
        text.parse().expect("a list")
    }

    fn rank(local: u32, local_size: u32) -> Rank {
        Rank { launcher: "MPICH".into(), global: None, local, local_size }
    }

    /// A question and its answer, from short texts.
    struct Ask {
        topology: Topology,
        affinity: Option<&'static str>,
        launcher: Option<&'static str>,
        leased: &'static str,
        numa: NumaChoice,
    }

    impl Ask {
        fn on(numa: u32, cores: u32, threads: u32) -> Self {
            Ask {
                topology: machine(numa, cores, threads),
                affinity: None,
                launcher: None,
                leased: "",
                numa: NumaChoice::Auto,
            }
        }

        fn of(&self, cores: Option<&str>, rank: Option<(u32, u32)>) -> Result<Assignment, Error> {
            let affinity = self.affinity.map_or(self.topology.online.clone(), set);
            let launcher = self.launcher.map(set);
            let rank = rank.map(|(local, size)| self::rank(local, size));
            let cores = cores.map(|text| text.parse().expect("cores"));
            assign(&Question {
                topology: &self.topology,
                affinity: &affinity,
                launcher_affinity: launcher.as_ref(),
                rank: rank.as_ref(),
                leased: &set(self.leased),
                cores: cores.as_ref(),
                numa: self.numa,
            })
        }

        /// Cell and service cores.
        fn sets(&self, cores: Option<&str>, rank: Option<(u32, u32)>) -> (String, String) {
            let answer = self.of(cores, rank).expect("possible");
            (answer.cell.to_string(), answer.service.to_string())
        }

        fn cells(&self, cores: Option<&str>, ranks: u32) -> Vec<String> {
            (0..ranks).map(|local| self.sets(cores, Some((local, ranks))).0).collect()
        }
    }

    fn pair(cell: &str, service: &str) -> (String, String) {
        (cell.to_owned(), service.to_owned())
    }

    #[test]
    fn alone_a_cell_gets_all_and_shares_them_with_its_proxy() {
        let answer = Ask::on(1, 4, 1).of(None, None).expect("possible");
        assert_eq!((answer.cell, answer.service), (set("0-3"), set("0-3")));
        assert!(answer.is_shared_with_proxy);
        assert_eq!(answer.numa, Some(0));
    }

    #[test]
    fn a_list_is_taken_as_it_is() {
        let ask = Ask { leased: "2", ..Ask::on(2, 4, 1) };
        let answer = ask.of(Some("2,5"), None).expect("possible");
        assert_eq!(answer.cell, set("2,5"));
        assert_eq!(answer.service, set("0-1,3-4,6-7"));
        assert_eq!(answer.shared_with_cells, set("2"));
        assert_eq!(answer.numa, None, "two NUMA nodes");
        assert!(!answer.is_shared_with_proxy);
    }

    #[test]
    fn a_list_must_be_there_and_allowed() {
        let ask = Ask { affinity: Some("0-3"), ..Ask::on(2, 4, 1) };
        let offline = ask.of(Some("0,99"), None).expect_err("99 is not there");
        assert!(matches!(&offline, Error::NotOnline { cores, .. } if *cores == set("99")), "{offline}");
        let forbidden = ask.of(Some("3-5"), None).expect_err("4 and 5 are not allowed");
        assert!(matches!(&forbidden, Error::NotAllowed { cores, .. } if *cores == set("4-5")), "{forbidden}");
    }

    #[test]
    fn a_count_stays_on_one_numa_node_and_off_other_cells() {
        assert_eq!(Ask::on(2, 4, 1).sets(Some("2"), None), pair("0-1", "2-3"));
        let ask = Ask { leased: "0-2", ..Ask::on(2, 4, 1) };
        assert_eq!(ask.sets(Some("2"), None), pair("4-5", "6-7"));
        assert_eq!(ask.sets(Some("1"), None), pair("3", "4-7"));
        assert_eq!(ask.sets(Some("5"), None).0, "3-7", "free cores of two nodes before shared ones");
    }

    #[test]
    fn a_count_shares_cores_when_it_must() {
        let ask = Ask { leased: "0-2,4-6", ..Ask::on(2, 4, 1) };
        let answer = ask.of(Some("3"), None).expect("possible");
        assert_eq!((answer.cell, answer.shared_with_cells), (set("0-1,3"), set("0-1")));
        let full = Ask { leased: "0-7", ..Ask::on(2, 4, 1) };
        let answer = full.of(Some("2"), None).expect("possible");
        assert_eq!(answer.shared_with_cells, set("0-1"));
        assert!(answer.is_shared_with_proxy);
    }

    #[test]
    fn a_count_takes_physical_cores_first() {
        // Processors 0-3 and 4-7 are the first and second ones of cores 0-3.
        let ask = Ask::on(1, 4, 2);
        assert_eq!(ask.sets(Some("2"), None), pair("0-1", "2-3,6-7"));
        assert_eq!(ask.sets(Some("5"), None).0, "0-4");
        assert_eq!(ask.sets(Some("4"), None).1, "4-7", "siblings serve when nothing else is there");
    }

    #[test]
    fn a_count_can_be_too_high() {
        let error = Ask::on(1, 4, 1).of(Some("5"), None).expect_err("four there");
        let line = error.to_string();
        assert!(line.contains('5') && line.contains('4'), "{line}");
    }

    #[test]
    fn ranks_split_the_node() {
        assert_eq!(Ask::on(1, 4, 1).cells(None, 2), ["0-1", "2-3"]);
        assert_eq!(Ask::on(1, 2, 1).cells(None, 2), ["0", "1"]);
        assert_eq!(Ask::on(1, 4, 2).cells(None, 4), ["0,4", "1,5", "2,6", "3,7"], "siblings stay together");
        assert_eq!(Ask::on(2, 3, 1).cells(None, 4), ["0", "1", "2", "3"]);
    }

    #[test]
    fn left_over_cores_serve_all_ranks() {
        let ask = Ask::on(1, 7, 1);
        assert_eq!(ask.sets(None, Some((0, 3))), pair("0-1", "6"));
        assert_eq!(ask.sets(None, Some((2, 3))), pair("4-5", "6"));
        let none_left = Ask::on(1, 2, 1).of(None, Some((1, 2))).expect("possible");
        assert!(none_left.is_shared_with_proxy, "the other core is the other rank's");
        assert_eq!(none_left.service, set("1"));
    }

    #[test]
    fn shares_keep_to_numa_nodes_where_they_can() {
        // 2 x 5 cores, 4 ranks of 2: two on each node, not one across.
        let ask = Ask::on(2, 5, 1);
        assert_eq!(ask.cells(None, 4), ["0-1", "2-3", "5-6", "7-8"]);
        assert_eq!(ask.sets(None, Some((3, 4))).1, "9");
        // 2 x 3 cores, 3 ranks of 2: it can't be.
        assert_eq!(Ask::on(2, 3, 1).cells(None, 3), ["0-1", "2-3", "4-5"]);
    }

    #[test]
    fn more_ranks_than_cores_share_them() {
        let ask = Ask::on(1, 2, 1);
        assert_eq!(ask.cells(None, 3), ["0", "1", "0"]);
        assert!(ask.of(None, Some((2, 3))).expect("possible").is_shared_with_proxy);
    }

    #[test]
    fn bound_ranks_keep_what_they_were_given() {
        let ask = Ask { affinity: Some("2-3"), launcher: Some("0-7"), ..Ask::on(2, 4, 1) };
        assert_eq!(ask.sets(None, Some((1, 4))), pair("2-3", "2-3"));
        let one = Ask { affinity: Some("5"), launcher: Some("0-7"), ..Ask::on(2, 4, 1) };
        assert_eq!(one.sets(None, Some((1, 2))), pair("5", "5"));
    }

    #[test]
    fn a_whole_job_on_fewer_cores_is_not_bound() {
        let ask = Ask { affinity: Some("4-7"), launcher: Some("4-7"), ..Ask::on(2, 4, 1) };
        assert_eq!(ask.cells(None, 2), ["4-5", "6-7"]);
        let unknown = Ask { affinity: Some("4-7"), ..Ask::on(2, 4, 1) };
        assert_eq!(unknown.cells(None, 2), ["4-7", "4-7"], "without a launcher to ask it counts as bound");
    }

    #[test]
    fn counts_of_ranks_lie_in_order() {
        let ask = Ask::on(2, 4, 1);
        assert_eq!(ask.cells(Some("2"), 3), ["0-1", "2-3", "4-5"]);
        assert_eq!(ask.sets(Some("2"), Some((0, 3))).1, "6-7", "not the cores of ranks to come");
        let taken = Ask { leased: "2-3", ..Ask::on(2, 4, 1) };
        assert_eq!(taken.sets(Some("2"), Some((1, 3))).0, "0-1", "another job's cell is avoided");
        assert_eq!(ask.cells(Some("8"), 2), ["0-7", "0-7"], "too many for all: still what was asked for");
    }

    #[test]
    fn one_rank_is_as_good_as_none() {
        let ask = Ask { affinity: Some("1-2"), launcher: Some("0-7"), ..Ask::on(2, 4, 1) };
        assert_eq!(ask.sets(None, Some((0, 1))).0, "1-2");
    }

    #[test]
    fn a_numa_node_by_number() {
        let ask = Ask { numa: NumaChoice::Node(1), ..Ask::on(2, 4, 1) };
        assert_eq!(ask.sets(None, None), pair("4-7", "0-3"));
        assert_eq!(ask.cells(None, 2), ["4-5", "6-7"]);
        assert_eq!(ask.sets(Some("1"), None), pair("4", "5-7"));
        assert_eq!(ask.sets(Some("0-1"), None).0, "0-1", "a list wins; the memory is still of that node");
        assert!(matches!(ask.of(Some("5"), None), Err(Error::TooManyCores { asked: 5, .. })));
    }

    #[test]
    fn a_numa_node_that_can_not_be_had() {
        let missing = Ask { numa: NumaChoice::Node(77), ..Ask::on(2, 4, 1) };
        let line = missing.of(None, None).expect_err("no such node").to_string();
        assert!(line.contains("77") && line.contains("0-1"), "{line}");
        let forbidden = Ask { numa: NumaChoice::Node(1), affinity: Some("0-3"), ..Ask::on(2, 4, 1) };
        assert!(matches!(forbidden.of(None, None), Err(Error::NumaWithoutCores { id: 1, .. })));
    }

    #[test]
    fn a_cell_has_no_more_cores_than_its_layout() {
        let error = Ask::on(1, 1025, 1).of(None, None).expect_err("too wide");
        assert!(matches!(error, Error::CellTooWide { asked: 1025, most: 1024 }));
    }
}
