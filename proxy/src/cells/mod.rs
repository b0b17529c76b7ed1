//! The cells of this node, seen from outside: `tacet ps`, `tacet top`, `tacet reclaim`.
//!
//! The ledger says which there are and what they hold; each cell's own control page says how it
//! fares ([`sample`]). Only the ledger of the user who asks is read: a cell's memory is its
//! owner's affair.

pub mod ps;
pub mod reclaim;
pub mod sample;
mod terminal;
pub mod top;

use std::fmt;
use std::fs;
use std::path::Path;

use shm_ipc::control::CellState;

use crate::reserve::Error;
use crate::reserve::ledger::{Entry, Ledger};
use crate::reserve::processes::Here;
use sample::{NoSample, Sample};

/// How a cell is, as far as can be seen.
#[derive(Debug)]
pub enum Condition {
    /// It has cores; its kernel has not been started yet.
    Reserved,
    /// It says so itself.
    Alive(Sample),
    /// Its proxy is gone and nobody has given back what it held.
    Dead,
    /// Its control page makes no sense.
    Corrupt(&'static str),
    /// It can't be looked at: it lives in another container, or it ends at this moment.
    Unknown,
}

impl Condition {
    /// What the cell says of itself, if it does.
    pub fn sample(&self) -> Option<&Sample> {
        match self {
            Condition::Alive(sample) => Some(sample),
            _ => None,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Condition::Reserved => "reserved",
            Condition::Alive(sample) => match sample.state {
                CellState::Reserved => "reserved",
                CellState::Booting => "booting",
                CellState::Running => "running",
                CellState::Exited => "ended",
                CellState::Failed => "failed",
            },
            Condition::Dead => "dead",
            Condition::Corrupt(_) => "corrupt",
            Condition::Unknown => "unknown",
        })
    }
}

/// A cell of this node.
#[derive(Debug)]
pub struct Cell {
    /// What the ledger says of it.
    pub entry: Entry,
    /// What can be seen of it.
    pub condition: Condition,
}

/// All cells of this user, those that are dead included.
pub fn of_this_user() -> Result<Vec<Cell>, Error> {
    let ledger = Ledger::open()?;
    // The lock is not held while the cells are looked at.
    let entries = ledger.lock()?.entries_with_state()?;
    let here = Here::read().ok();
    let cells = entries.into_iter().map(|(entry, is_dead)| {
        let condition = if is_dead { Condition::Dead } else { condition(&entry, here.as_ref()) };
        Cell { entry, condition }
    });
    Ok(cells.collect())
}

fn condition(entry: &Entry, here: Option<&Here>) -> Condition {
    // Elsewhere the path would lead to another process's file.
    if here != Some(&entry.here) {
        return Condition::Unknown;
    }
    let Some(file) = &entry.memory_file else { return Condition::Reserved };
    let sampled = Sample::read(file);
    // Asked after the file was open: it was this cell's, not that of a later process of the
    // same number.
    if !entry.proxy.is_alive() {
        return Condition::Unknown;
    }
    match sampled {
        Ok(sample) => Condition::Alive(sample),
        Err(NoSample::Empty) => Condition::Reserved,
        Err(NoSample::Corrupt(why)) => Condition::Corrupt(why),
        // It has gone since, or it is somebody else's.
        Err(NoSample::Unreadable(_)) => Condition::Unknown,
    }
}

/// Seconds since the cell's proxy was started; `None` where that was before Linux was.
pub fn age_seconds(entry: &Entry, root: &Path) -> Option<u64> {
    let uptime = fs::read_to_string(root.join("proc/uptime")).ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok()??;
    let age = uptime - entry.proxy.started as f64 / ticks as f64;
    (age > -1.0).then_some(age.max(0.0) as u64)
}

/// The rank as the tables show it: the one in the whole program where the launcher says so.
pub fn rank(entry: &Entry) -> String {
    entry.rank.as_ref().map_or("-".to_owned(), |rank| rank.global.unwrap_or(rank.local).to_string())
}

/// What is said below a table: what to do about dead cells, and what is wrong with corrupt ones.
pub fn hints(cells: &[Cell]) -> String {
    let corrupt = cells.iter().filter_map(|cell| match &cell.condition {
        Condition::Corrupt(why) => Some(format!(
            "cell {}: its control page is corrupt ({why}): its program has written over it\n",
            cell.entry.proxy.pid
        )),
        _ => None,
    });
    let dead = match cells.iter().filter(|cell| matches!(cell.condition, Condition::Dead)).count() {
        0 => None,
        1 => Some("1 cell is dead: `tacet reclaim` gives back what it left\n".to_owned()),
        count => Some(format!("{count} cells are dead: `tacet reclaim` gives back what they left\n")),
    };
    corrupt.chain(dead).collect()
}

/// The cells of root, whose ledger nobody else may read.
pub fn hint_for_others(root: &Path) -> Option<&'static str> {
    let is_root = nix::unistd::geteuid().is_root();
    (!is_root && root.join("run/tacet").is_dir())
        .then_some("cells that root started are not shown; see `sudo tacet ps`")
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::node::tests::Fixture;
    use crate::reserve::ledger::Holding;

    /// A cell of this process in a ledger of its own, whose memory is at `file`.
    pub fn entry(root: &Fixture, file: Option<&Path>) -> Entry {
        let ledger = Ledger::at(&root.path().join("ledger")).expect("own directory");
        let holding = Holding {
            program: "/bin/x\x1b[1m".into(),
            rank: Some(crate::launcher::Rank { launcher: "MPICH".into(), global: Some(5), local: 1, local_size: 2 }),
            platform: "process".into(),
            cores: "3,5".parse().expect("a list"),
            memory: 1 << 30,
            bare: None,
            job: None,
        };
        let mut lease = ledger.lock().expect("lock").enter(holding).expect("entered");
        if let Some(file) = file {
            lease.set_memory_file(file.to_owned()).expect("noted");
        }
        ledger.lock().expect("lock").living().expect("listed").remove(0)
    }

    pub fn cell(root: &Fixture, calls: u64) -> Cell {
        let entry = entry(root, Some(&sample::tests::cell(root, "memory", calls)));
        let condition = condition(&entry, Some(&entry.here));
        Cell { entry, condition }
    }

    #[test]
    fn conditions() {
        let root = Fixture::new();
        assert_eq!(cell(&root, 1).condition.to_string(), "running");
        let of = |file: Option<&Path>| {
            let entry = entry(&root, file);
            condition(&entry, Some(&entry.here)).to_string()
        };
        assert_eq!(of(None), "reserved");
        assert_eq!(of(Some(&root.path().join("gone"))), "unknown");
        let zeros = root.file("zeros", "");
        fs::File::options().write(true).open(&zeros).expect("own file").set_len(1 << 20).expect("own file");
        assert_eq!(of(Some(&zeros)), "reserved");
        let nonsense = root.file("nonsense", "");
        fs::write(&nonsense, vec![7; 1 << 20]).expect("own file");
        assert_eq!(of(Some(&nonsense)), "corrupt");
    }

    #[test]
    fn files_of_another_container_are_not_looked_at() {
        let root = Fixture::new();
        let entry = cell(&root, 1).entry;
        let elsewhere = Here { pid_namespace: entry.here.pid_namespace + 1, ..entry.here.clone() };
        assert_eq!(condition(&entry, Some(&elsewhere)).to_string(), "unknown");
    }

    #[test]
    fn files_of_a_process_that_has_ended_are_not_believed() {
        let root = Fixture::new();
        let mut entry = cell(&root, 1).entry;
        entry.proxy.started += 1;
        assert_eq!(condition(&entry, Some(&entry.here)).to_string(), "unknown");
    }

    #[test]
    fn ages() {
        let root = Fixture::new();
        let mut entry = entry(&root, None);
        root.file("proc/uptime", "1000.50 1.0\n");
        entry.proxy.started = 90_000;
        let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).expect("known").expect("known");
        assert_eq!(age_seconds(&entry, root.path()), Some((1000.5 - 90_000.0 / ticks as f64) as u64));
        entry.proxy.started = u64::MAX;
        assert_eq!(age_seconds(&entry, root.path()), None);
    }
}
