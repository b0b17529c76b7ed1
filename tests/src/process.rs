//! Processes seen from outside, by `/proc`: who descends from whom, who is still there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// What `/proc/<pid>/stat` says of a process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// The letter of its state; `Z` is dead and waits for its parent to take notice.
    pub state: char,
    /// When it started, in clock ticks since boot: with `pid` it names one process for good.
    pub start_ticks: u64,
    /// Its short name.
    pub name: String,
}

fn read(pid: i32) -> Option<Process> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may itself hold any character.
    let (head, tail) = line.rsplit_once(") ")?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = tail.split(' ');
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let start_ticks = fields.nth(16)?.parse().ok()?;
    Some(Process { pid, parent, group, state, start_ticks, name })
}

/// The letter of a process's state, if there is such a process.
pub fn state(pid: i32) -> Option<char> {
    read(pid).map(|process| process.state)
}

/// Every process of the machine that is not dead.
pub fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(read).filter(|process| !matches!(process.state, 'Z' | 'X')).collect()
}

/// The process with that number and everything it started, directly or not.
pub fn family(root: i32) -> Vec<Process> {
    let by_pid: BTreeMap<i32, Process> = all().into_iter().map(|process| (process.pid, process)).collect();
    let mut members = BTreeSet::from([root]);
    loop {
        let before = members.len();
        members.extend(
            by_pid
                .values()
                .filter(|process| members.contains(&process.parent))
                .map(|process| process.pid)
                .collect::<Vec<_>>(),
        );
        if members.len() == before {
            break;
        }
    }
    members.iter().filter_map(|pid| by_pid.get(pid).cloned()).collect()
}

/// Whether exactly this process, not a later one of the same number, still lives.
pub fn is_alive(process: &Process) -> bool {
    read(process.pid).is_some_and(|now| now.start_ticks == process.start_ticks && !matches!(now.state, 'Z' | 'X'))
}

/// The processes that carry `marker` in their environment or belong to process group `group`.
pub fn marked(marker: &str, group: i32) -> Vec<Process> {
    let has_marker = |process: &Process| {
        let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes())
    };
    all().into_iter().filter(|process| process.group == group || has_marker(process)).collect()
}
