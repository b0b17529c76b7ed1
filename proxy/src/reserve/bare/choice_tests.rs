//! Tests of the choice of cores, on machines that are not there.

use super::*;
use crate::node::topology::tests::machine;

fn set(text: &str) -> CpuSet {
    text.parse().expect("a list")
}

/// A node on which cells come one after the other: what they take is offline for the next.
struct Node {
    whole: Topology,
    affinity: Option<&'static str>,
    launcher: Option<&'static str>,
    fixed: &'static str,
    numa: NumaChoice,
    family: Vec<Cpu>,
    foreign: CpuSet,
    foreign_bare: CpuSet,
}

impl Node {
    fn of(numa: u32, cores: u32, threads: u32) -> Self {
        Node {
            whole: machine(numa, cores, threads),
            affinity: None,
            launcher: None,
            fixed: "0",
            numa: NumaChoice::Auto,
            family: Vec::new(),
            foreign: CpuSet::default(),
            foreign_bare: CpuSet::default(),
        }
    }

    /// With cores that a bare cell of another job has taken.
    fn without(mut self, cores: &str) -> Self {
        self.foreign_bare = set(cores);
        self.foreign = set(cores);
        self
    }

    /// What sysfs says while others have taken their cores offline.
    fn topology(&self) -> Topology {
        let gone = self.foreign_bare.or(&self.family.iter().map(|cpu| cpu.id).collect());
        let mut now = self.whole.clone();
        now.online = now.online.without(&gone);
        now.cpus.retain(|cpu| !gone.contains(cpu.id));
        for numa in &mut now.numa {
            numa.cpus = numa.cpus.without(&gone);
        }
        now
    }

    fn choose(&self, cores: Option<&str>, rank: Option<(u32, u32)>) -> Result<Choice, Error> {
        let topology = self.topology();
        let affinity = self.affinity.map_or(self.whole.online.clone(), set);
        let launcher = self.launcher.map(set);
        let rank = rank.map(|(local, local_size)| Rank { launcher: "MPICH".into(), global: None, local, local_size });
        let cores = cores.map(|text| text.parse().expect("cores"));
        choose(&Question {
            topology: &topology,
            fixed: &set(self.fixed),
            affinity: &affinity,
            launcher_affinity: launcher.as_ref(),
            rank: rank.as_ref(),
            family: &self.family,
            foreign: &self.foreign,
            foreign_bare: &self.foreign_bare,
            cores: cores.as_ref(),
            numa: self.numa,
        })
    }

    /// The cell's cores, what goes offline, where the proxy runs.
    fn sets(&self, cores: Option<&str>) -> [String; 3] {
        let choice = self.choose(cores, None).expect("possible");
        let offline: CpuSet = choice.offline.iter().map(|cpu| cpu.id).collect();
        [choice.assignment.cell, offline, choice.assignment.service].map(|set| set.to_string())
    }

    /// The cells of the ranks that come in this order, each after those before have taken theirs.
    fn job(&mut self, cores: Option<&str>, order: &[u32]) -> Vec<Result<String, String>> {
        let mut cells = vec![Err("did not come".to_owned()); order.len()];
        for local in order {
            let choice = self.choose(cores, Some((*local, order.len() as u32)));
            cells[*local as usize] = choice.map_err(|error| error.to_string()).map(|choice| {
                assert!(choice.offline.iter().all(|cpu| self.family.iter().all(|own| own.id != cpu.id)));
                self.family.extend(choice.offline);
                choice.assignment.cell.to_string()
            });
        }
        cells
    }

    fn cells(&mut self, cores: Option<&str>, order: &[u32]) -> Vec<String> {
        self.job(cores, order).into_iter().map(|cell| cell.unwrap_or_else(|error| error)).collect()
    }

    fn refusal(&self, cores: Option<&str>) -> String {
        self.choose(cores, None).expect_err("impossible").to_string()
    }
}

#[test]
fn alone_a_cell_gets_all_but_core_0() {
    assert_eq!(Node::of(1, 4, 1).sets(None), ["1-3", "1-3", "0"]);
    assert_eq!(Node::of(1, 4, 2).sets(None), ["1-3,5-7", "1-3,5-7", "0,4"], "core 4 is on core 0");
    let bound = Node { affinity: Some("2-3"), ..Node::of(1, 4, 1) };
    assert_eq!(bound.sets(None), ["3", "3", "2"], "one of those that it may use serves");
}

#[test]
fn a_count_takes_whole_physical_cores() {
    assert_eq!(Node::of(1, 4, 1).sets(Some("2")), ["1-2", "1-2", "0,3"]);
    assert_eq!(Node::of(1, 4, 2).sets(Some("2")), ["1-2", "1-2,5-6", "0,3-4,7"], "one thread of each");
    assert_eq!(Node::of(1, 4, 2).sets(Some("5")), ["1-3,5-6", "1-3,5-7", "0,4"]);
    assert_eq!(Node::of(2, 4, 1).sets(Some("4")), ["4-7", "4-7", "0-3"], "on one NUMA node");
    assert_eq!(Node::of(2, 2, 1).sets(Some("3")), ["1-3", "1-3", "0"], "on two, if it must");
    let line = Node::of(1, 4, 1).refusal(Some("4"));
    assert!(line.contains("--cores 4: only 3") && line.contains("(1-3)"), "{line}");
}

#[test]
fn a_list_is_taken_with_what_shares_its_cores() {
    assert_eq!(Node::of(1, 4, 1).sets(Some("2-3")), ["2-3", "2-3", "0-1"]);
    assert_eq!(Node::of(1, 4, 2).sets(Some("6,")), ["6", "2,6", "0-1,3-5,7"]);
}

#[test]
fn a_list_that_can_not_be_taken_is_refused_by_name() {
    let node = Node::of(1, 4, 2);
    assert!(node.refusal(Some("0-1")).contains("core 0 can't be taken"));
    let sibling = node.refusal(Some("4,")).to_string();
    assert!(sibling.contains("core 4 can't be taken") && sibling.contains("core 0"), "{sibling}");
    assert!(node.refusal(Some("9,")).contains("9 not online"));
    let fixed = Node { fixed: "0,3", ..Node::of(1, 4, 1) };
    assert!(fixed.refusal(Some("3,")).contains("core 3 can't be taken"));
    assert_eq!(fixed.sets(None)[0], "1-2");
    let held = Node::of(1, 4, 1).without("2").refusal(Some("2-3"));
    assert!(held.contains("2 held by other cells") && held.contains("1,3 are free"), "{held}");
    let outside = Node { affinity: Some("0-1"), ..Node::of(1, 4, 1) };
    assert!(outside.refusal(Some("2,")).contains("2 not in this process's affinity mask"));
}

#[test]
fn the_last_core_of_the_proxy_is_not_taken() {
    let node = Node { affinity: Some("2-3"), ..Node::of(1, 4, 1) };
    let line = node.refusal(Some("2-3"));
    assert!(line.contains("core 3 can't be taken: it is the last one"), "{line}");
    assert_eq!(node.sets(Some("2,")), ["2", "2", "3"]);
    let one = Node { affinity: Some("2"), ..Node::of(1, 4, 1) };
    assert!(one.refusal(None).contains("core 2 stays with Linux"), "{}", one.refusal(None));
}

#[test]
fn cells_of_others_are_left_alone() {
    let node = Node::of(1, 6, 1).without("1-2");
    assert_eq!(node.sets(Some("1")), ["3", "3", "0,4-5"]);
    assert_eq!(node.sets(None), ["3-5", "3-5", "0"]);
    let line = Node::of(1, 3, 1).without("1-2").refusal(Some("1"));
    assert!(line.contains("core 0 stays with Linux, other cells hold 1-2"), "{line}");
    // A cell that is a Linux process: its cores are online, and not ours either.
    let process = Node { foreign: set("1,4"), ..Node::of(1, 4, 2) };
    assert_eq!(process.sets(None), ["2-3,6-7", "2-3,6-7", "0,5"], "4 is the other cell's");
    let all = Node { foreign: set("0-7"), ..Node::of(1, 4, 2) };
    assert!(all.refusal(None).contains("other cells hold 0-7"));
}

#[test]
fn ranks_divide_the_node_in_whatever_order_they_come() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        assert_eq!(Node::of(1, 4, 1).cells(None, &order), ["1", "2", "3"], "{order:?}");
        assert_eq!(Node::of(1, 8, 1).cells(None, &order), ["1-2", "3-4", "5-6"], "{order:?}");
        assert_eq!(Node::of(1, 4, 2).cells(None, &order), ["1,5", "2,6", "3,7"], "{order:?}");
        assert_eq!(Node::of(1, 8, 1).cells(Some("2"), &order), ["1-2", "3-4", "5-6"], "{order:?}");
        assert_eq!(Node::of(1, 7, 2).cells(Some("2"), &order), ["1-2", "3-4", "5-6"], "{order:?}");
        assert_eq!(Node::of(1, 4, 2).cells(Some("2"), &order), ["1,5", "2,6", "3,7"], "{order:?}");
    }
    // 4 cores on each of two NUMA nodes, of which core 0 stays: 3 and 4 candidates.
    for order in [[0, 1, 2], [2, 0, 1]] {
        assert_eq!(Node::of(2, 4, 1).cells(None, &order), ["1-2", "4-5", "6-7"], "none across: {order:?}");
    }
}

#[test]
fn the_proxies_of_ranks_run_beside_all_of_them() {
    let choice = Node::of(1, 8, 1).choose(None, Some((1, 3))).expect("possible");
    assert_eq!(choice.assignment.service, set("0,7"), "not on cores of ranks to come");
    assert!(!choice.assignment.is_shared_with_proxy);
}

#[test]
fn a_rank_too_many_is_told() {
    let cells = Node::of(2, 2, 1).job(None, &[3, 0, 2, 1]);
    assert_eq!(cells.iter().filter(|cell| cell.is_ok()).count(), 3, "{cells:?}");
    let line = cells[1].as_ref().expect_err("the last to come");
    assert!(line.contains("core 0 stays with Linux, other cells hold 1-3"), "{line}");
}

#[test]
fn ranks_beside_another_job() {
    // The other job has two of the cores that the shares would be.
    for order in [[0, 1], [1, 0]] {
        assert_eq!(Node::of(1, 8, 1).without("1,4").cells(Some("2"), &order), ["2-3", "5-6"], "{order:?}");
        assert_eq!(Node::of(1, 8, 1).without("1-2").cells(None, &order), ["3-4", "5-6"], "{order:?}");
    }
}

#[test]
fn bound_ranks_keep_what_they_were_given() {
    let rank = |affinity, local| {
        let node = Node { affinity: Some(affinity), launcher: Some("0-7"), ..Node::of(2, 4, 1) };
        node.choose(None, Some((local, 4))).expect("possible").assignment.cell.to_string()
    };
    assert_eq!(rank("2-3", 1), "2-3");
    assert_eq!(rank("0-1", 0), "1", "core 0 stays");
    assert_eq!(rank("0", 0), "1", "in place of core 0");
}

#[test]
fn ranks_bound_to_the_same_cores_share_them_fairly() {
    let mut node = Node { affinity: Some("4-7"), launcher: Some("0-7"), ..Node::of(2, 4, 1) };
    let cells = node.cells(None, &[0, 1, 2, 3]);
    assert_eq!(cells, ["4", "5", "6", "7"]);
}

#[test]
fn ranks_bound_one_by_one_all_find_something() {
    let mut node = Node { launcher: Some("0-3"), ..Node::of(1, 4, 1) };
    let mut cells = Vec::new();
    for (local, affinity) in [(0, "0"), (1, "1"), (2, "2")] {
        node.affinity = Some(affinity);
        let choice = node.choose(None, Some((local, 3))).expect("possible");
        cells.push(choice.assignment.cell.to_string());
        node.family.extend(choice.offline);
    }
    assert_eq!(cells, ["1", "2", "3"], "each in place of one that the one before has taken");
}

#[test]
fn a_numa_node_by_number() {
    let node = |id| Node { numa: NumaChoice::Node(id), ..Node::of(2, 4, 1) };
    assert_eq!(node(1).sets(None), ["4-7", "4-7", "0-3"]);
    assert_eq!(node(0).sets(None), ["1-3", "1-3", "0"]);
    assert_eq!(node(1).sets(Some("1")), ["4", "4", "5-7"]);
    assert_eq!(node(1).choose(Some("1-2"), None).expect("possible").numa, 1, "a list wins, but for the memory");
    assert!(node(7).refusal(None).contains("--numa 7: there is no such NUMA node"));
    let elsewhere = Node { affinity: Some("0-3"), ..node(1) };
    assert!(elsewhere.refusal(None).contains("none of its cores"));
    let line = Node { numa: NumaChoice::Node(0), ..Node::of(2, 1, 1) }.refusal(None);
    assert!(line.contains("cores 0-1 stay with Linux"), "{line}");
}

#[test]
fn memory_comes_from_where_most_cores_are() {
    let numa = |cores: &str| Node::of(2, 4, 1).choose(Some(cores), None).expect("possible");
    assert_eq!(numa("3-5").numa, 1);
    assert_eq!(numa("2-5").numa, 0);
    assert_eq!((numa("2-5").assignment.numa, numa("4-5").assignment.numa), (None, Some(1)));
}

#[test]
fn a_cell_has_no_more_cores_than_its_layout() {
    let error = Node::of(1, 1026, 1).choose(None, None).expect_err("too wide");
    assert!(matches!(error, Error::CellTooWide { asked: 1025, most: 1024 }));
}
