//! Which rank this is, by what the launcher left in the environment.
//!
//! Only the rank *on this node* and the number of ranks on it matter to us: they decide which
//! share of the node the cell gets. Nothing is asked of the launcher itself.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::node::{self, cpus::CpuSet};

/// A process of a parallel program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rank {
    /// Who started it.
    pub launcher: String,
    /// Its rank in the whole program, where the launcher says so.
    pub global: Option<u32>,
    /// Its rank among those on this node.
    pub local: u32,
    /// How many there are on this node.
    pub local_size: u32,
}

/// An environment that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{launcher} says that this is local rank {local} of {local_size}; ranks are not considered")]
pub struct Contradiction {
    launcher: &'static str,
    local: u32,
    local_size: u32,
}

/// Variables of one launcher.
struct Launcher {
    name: &'static str,
    global: &'static str,
    local: &'static str,
    local_size: &'static str,
}

/// In the order in which they are asked: a launcher that runs inside a Slurm job comes before
/// Slurm.
const LAUNCHERS: &[Launcher] = &[
    // https://docs.open-mpi.org/en/main/tuning-apps/environment-var.html
    Launcher {
        name: "Open MPI",
        global: "OMPI_COMM_WORLD_RANK",
        local: "OMPI_COMM_WORLD_LOCAL_RANK",
        local_size: "OMPI_COMM_WORLD_LOCAL_SIZE",
    },
    // MPICH: src/pm/hydra/proxy/pmip_cb.c
    Launcher { name: "MPICH", global: "PMI_RANK", local: "MPI_LOCALRANKID", local_size: "MPI_LOCALNRANKS" },
    Launcher {
        name: "MVAPICH",
        global: "MV2_COMM_WORLD_RANK",
        local: "MV2_COMM_WORLD_LOCAL_RANK",
        local_size: "MV2_COMM_WORLD_LOCAL_SIZE",
    },
];

/// The rank that the environment tells of, `None` where no launcher is at work. PMIx alone
/// (`PMIX_RANK`) does not tell how many ranks the node has: its launchers set one of the above.
pub fn rank(env: impl Fn(&str) -> Option<String>) -> Result<Option<Rank>, Contradiction> {
    let number = |name: &str| env(name)?.trim().parse::<u32>().ok();
    let of = |launcher: &Launcher| {
        Some((launcher.name, number(launcher.global), number(launcher.local)?, number(launcher.local_size)?))
    };
    let found = LAUNCHERS.iter().find_map(of).or_else(|| slurm(&env));
    let Some((launcher, global, local, local_size)) = found else { return Ok(None) };
    if local >= local_size {
        return Err(Contradiction { launcher, local, local_size });
    }
    Ok(Some(Rank { launcher: launcher.to_owned(), global, local, local_size }))
}

/// Whether all ranks of the program are on this node, as far as the launcher tells. Not those that other ranks
/// have spawned: these may be anywhere.
pub fn is_on_one_node(env: impl Fn(&str) -> Option<String>) -> bool {
    if env("PMI_SPAWNED").is_some_and(|spawned| spawned.trim() != "0") {
        return false;
    }
    let sizes = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"];
    let all = sizes.into_iter().find_map(|name| env(name)?.trim().parse::<u32>().ok());
    rank(env).ok().flatten().is_some_and(|rank| Some(rank.local_size) == all)
}

/// Whether nobody has launched this as a rank of Open MPI.
pub fn is_absent(is_set: impl Fn(&str) -> bool) -> bool {
    !["OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMIX_NAMESPACE"].into_iter().any(is_set)
}

/// Slurm describes all nodes of a step in one variable. Outside a step (in a batch script)
/// there are no ranks, although some variables are set.
fn slurm(env: &impl Fn(&str) -> Option<String>) -> Option<(&'static str, Option<u32>, u32, u32)> {
    let number = |name: &str| env(name)?.trim().parse::<u32>().ok();
    let local = number("SLURM_LOCALID")?;
    let node = number("SLURM_NODEID").unwrap_or(0);
    let of_step = env("SLURM_STEP_TASKS_PER_NODE").and_then(|text| tasks_on_node(&text, node));
    let in_a_step = env("SLURM_STEP_ID").or_else(|| env("SLURM_STEPID")).is_some();
    let of_job = || in_a_step.then(|| tasks_on_node(&env("SLURM_NTASKS_PER_NODE")?, node)).flatten();
    Some(("Slurm", number("SLURM_PROCID"), local, of_step.or_else(of_job)?))
}

/// The entry of node `node` in a list such as `2(x3),1`: three nodes with two tasks, one with
/// one. A single number without repetition goes for all nodes.
fn tasks_on_node(text: &str, node: u32) -> Option<u32> {
    let mut first = 0;
    for part in text.trim().split(',') {
        let (tasks, times) = match part.split_once("(x") {
            Some((tasks, times)) => (tasks, times.strip_suffix(')')?.parse().ok()?),
            None => (part, 1_u32),
        };
        let tasks = tasks.parse().ok()?;
        first += times;
        if node < first || !text.contains([',', '(']) {
            return Some(tasks);
        }
    }
    None
}

/// The launcher: the nearest ancestor without a rank in its own environment; shells and wrappers
/// between it and us have one. An ancestor whose environment can't be read belongs to someone else,
/// as Slurm's daemon does, and is taken for the launcher.
pub fn process(root: &Path, parent: u32) -> Option<u32> {
    const MOST_WRAPPERS: u32 = 16;
    let mut process = parent;
    for _ in 0..MOST_WRAPPERS {
        if process <= 1 {
            return None;
        }
        if !has_rank(root, process) {
            return Some(process);
        }
        process = parent_of(root, process)?;
    }
    None
}

/// The processors that the launcher itself may use: where ours are fewer, it has bound us.
pub fn affinity_of_launcher(root: &Path, parent: u32) -> Option<CpuSet> {
    node::affinity_of(root, &process(root, parent)?.to_string()).ok()
}

fn has_rank(root: &Path, process: u32) -> bool {
    let bytes = std::fs::read(root.join(format!("proc/{process}/environ"))).unwrap_or_default();
    let lookup = |name: &str| {
        let entry =
            bytes.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="));
        entry.map(|value| String::from_utf8_lossy(value).into_owned())
    };
    !matches!(rank(lookup), Ok(None))
}

fn parent_of(root: &Path, process: u32) -> Option<u32> {
    let status = std::fs::read_to_string(root.join(format!("proc/{process}/status"))).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Rank>, Contradiction> {
        rank(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    fn local(variables: &[(&str, &str)]) -> Option<(u32, u32)> {
        of(variables).expect("consistent").map(|rank| (rank.local, rank.local_size))
    }

    #[test]
    fn none() {
        assert_eq!(local(&[]), None);
        assert_eq!(local(&[("PMI_RANK", "3"), ("PMIX_RANK", "3")]), None);
        assert_eq!(local(&[("MPI_LOCALRANKID", "one"), ("MPI_LOCALNRANKS", "2")]), None);
    }

    #[test]
    fn mpich() {
        let rank = of(&[("PMI_RANK", "5"), ("MPI_LOCALRANKID", "1"), ("MPI_LOCALNRANKS", "4")]);
        let expected = Rank { launcher: "MPICH".into(), global: Some(5), local: 1, local_size: 4 };
        assert_eq!(rank, Ok(Some(expected)));
    }

    #[test]
    fn all_ranks_on_one_node() {
        let is = |size, spawned| {
            let set =
                [("PMI_SIZE", size), ("PMI_SPAWNED", spawned), ("MPI_LOCALRANKID", "1"), ("MPI_LOCALNRANKS", "4")];
            is_on_one_node(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
        };
        assert!(is("4", "0"));
        assert!(!is("8", "0") && !is("4", "1") && !is("", "0"));
        assert!(!is_on_one_node(|_| None));
    }

    #[test]
    fn open_mpi_inside_slurm() {
        let variables = [
            ("SLURM_LOCALID", "0"),
            ("SLURM_STEP_TASKS_PER_NODE", "1"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "2"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "3"),
        ];
        assert_eq!(local(&variables), Some((2, 3)));
    }

    #[test]
    fn slurm_steps() {
        let step =
            |node, local| [("SLURM_LOCALID", local), ("SLURM_NODEID", node), ("SLURM_STEP_TASKS_PER_NODE", "2(x3),1")];
        assert_eq!(local(&step("2", "1")), Some((1, 2)));
        assert_eq!(local(&step("3", "0")), Some((0, 1)));
        assert_eq!(local(&step("4", "0")), None);
        assert_eq!(local(&[("SLURM_LOCALID", "0"), ("SLURM_NTASKS_PER_NODE", "4")]), None, "a batch script");
        let in_a_step =
            [("SLURM_LOCALID", "3"), ("SLURM_STEP_ID", "0"), ("SLURM_NTASKS_PER_NODE", "4"), ("SLURM_NODEID", "9")];
        assert_eq!(local(&in_a_step), Some((3, 4)));
    }

    #[test]
    fn lists_of_tasks() {
        for (text, node, tasks) in [
            ("2", 7, Some(2)),
            ("2(x2),3", 1, Some(2)),
            ("2(x2),3", 2, Some(3)),
            ("4,5", 1, Some(5)),
            ("2(x", 0, None),
            ("", 0, None),
        ] {
            assert_eq!(tasks_on_node(text, node), tasks, "{text} {node}");
        }
    }

    #[test]
    fn contradictions_are_told() {
        let error = of(&[("MPI_LOCALRANKID", "4"), ("MPI_LOCALNRANKS", "4")]).expect_err("4 of 4");
        assert!(error.to_string().contains("local rank 4 of 4"), "{error}");
    }

    #[test]
    fn wrappers_are_not_the_launcher() {
        let root = Fixture::new();
        let process = |pid: u32, parent: u32, environ: &str, cpus: &str| {
            root.file(&format!("proc/{pid}/status"), &format!("PPid:\t{parent}\nCpus_allowed_list:\t{cpus}\n"));
            root.file(&format!("proc/{pid}/environ"), environ);
        };
        process(30, 20, "A=1\0MPI_LOCALRANKID=0\0MPI_LOCALNRANKS=2\0", "0");
        process(20, 10, "A=1\0", "0-3");
        process(10, 1, "", "0-7");
        assert_eq!(affinity_of_launcher(root.path(), 30).map(|set| set.to_string()).as_deref(), Some("0-3"));
        assert_eq!(affinity_of_launcher(root.path(), 1), None);
        assert_eq!(affinity_of_launcher(root.path(), 99), None, "gone");
    }
}
