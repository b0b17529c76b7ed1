//! Cores that Linux's scheduler leaves alone: a partition of control groups of version 2, or the scheduling
//! domains of the cpuset controller of version 1 where only that is there.

mod v1;
mod v2;

use super::report::Item;
use super::system::System;
use super::threads::{Snapshot, few};
use super::work::Work;

const NAME: &str = "isolated cpuset";

/// Isolates the cores and, where that is by membership, lets this process and its children in.
pub fn step(work: &mut Work, before_it: &Snapshot) -> Item {
    if let Some(why) = work.target.why_not_isolated() {
        return Item::not_possible(NAME, why);
    }
    let before = work.journal.len();
    let Some(place) = find(work.system) else {
        return Item::not_possible(NAME, "no control groups with the cpuset controller are mounted");
    };
    let done = match &place {
        Place::Unified(directory) => v2::isolate(work, directory),
        Place::Legacy(directory) => v1::isolate(work, directory),
    };
    match done {
        Ok(detail) => Item::applied(NAME, detail + &side_effect(work, before_it)),
        Err(why) => {
            let undone = work.journal.undo_from(work.system, before);
            let failed = undone.failed.iter().map(|failed| format!("; {failed}"));
            Item::not_possible(NAME, why + &failed.collect::<String>())
        }
    }
}

/// What Linux does to its own workers, and we can't undo.
fn side_effect(work: &Work, before_it: &Snapshot) -> String {
    let moved = before_it.workers_that_linux_moved(work.system);
    match moved.is_empty() {
        true => String::new(),
        false => format!(
            "; this version of Linux also changed the affinity of {} of its own workers ({}), which only itself can put back: it does so when it replaces them",
            moved.len(),
            few(&moved)
        ),
    }
}

/// Where the cpuset controller is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Version 2, mounted here.
    Unified(String),
    /// Version 1.
    Legacy(String),
}

/// By `/proc/self/mountinfo`: mount point is field 5; file system and its options follow ` - ` (proc(5)).
fn find(system: &dyn System) -> Option<Place> {
    let mounts = system.read("/proc/self/mountinfo").unwrap_or_default();
    let parsed: Vec<(&str, &str, &str)> = mounts
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut kind = after.split_whitespace();
            Some((before.split_whitespace().nth(4)?, kind.next()?, kind.nth(1)?))
        })
        .collect();
    let has_cpuset = |place: &str| {
        let controllers = system.read(&format!("{place}/cgroup.controllers")).unwrap_or_default();
        controllers.split_whitespace().any(|name| name == "cpuset")
    };
    let unified = parsed.iter().find(|(place, kind, _)| *kind == "cgroup2" && has_cpuset(place));
    let legacy = || {
        let is_it =
            |(_, kind, options): &&(&str, &str, &str)| *kind == "cgroup" && options.split(',').any(|o| o == "cpuset");
        parsed.iter().find(is_it).map(|(place, ..)| Place::Legacy((*place).to_owned()))
    };
    unified.map(|(place, ..)| Place::Unified((*place).to_owned())).or_else(legacy)
}

/// What Linux said to an attempt at a file.
fn refused(path: &str) -> impl FnOnce(std::io::Error) -> String {
    move |error| format!("{path}: {}", super::system::reason(&error))
}
