//! One change of the node, with what is needed to undo it.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::system::{System, reason};
use super::threads::Snapshot;
use crate::machine::cpu_set::CpuSet;

/// How long a directory of control groups may stay busy after its processes were ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// How the value of a file is written, and so when two texts mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// As it stands.
    Plain,
    /// One of several, the one in force in brackets: `always [madvise] never`.
    Choice,
    /// A list of processors.
    List,
    /// A mask of processors.
    Mask,
}

/// What was, or is about to be, changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// The value of a file.
    Value {
        /// The file.
        path: String,
        /// How it is written.
        kind: Kind,
        /// The value from before.
        old: String,
        /// Ours.
        new: String,
    },
    /// A controller that the control groups below this directory (version 2) have from now on.
    Controller {
        /// The directory.
        directory: String,
        /// The controller.
        name: String,
    },
    /// A control group of ours.
    Group {
        /// Its directory.
        path: String,
    },
    /// A process of ours in such a group.
    Member {
        /// The process.
        process: u32,
        /// `cgroup.procs` of the group that it came from.
        from: String,
    },
    /// The affinity of all threads, as it was before any was moved.
    Affinities(Snapshot),
}

/// What became of a change that was to be undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    /// It is as it was before.
    Back,
    /// It can't be undone any more, and should not: why.
    Dropped(String),
    /// It should be undone and could not: why. The next one may try.
    Failed(String),
}

impl Kind {
    /// The value in a file's text, in one way of writing.
    pub fn value(self, text: &str) -> String {
        let text = text.trim();
        let normal = match self {
            Self::Plain => None,
            Self::Choice => {
                text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']')).map(str::to_owned)
            }
            Self::List => CpuSet::from_list(text).map(|set| set.to_string()),
            Self::Mask => CpuSet::from_mask(text).map(|set| set.mask()),
        };
        normal.unwrap_or_else(|| text.to_owned())
    }
}

impl Change {
    /// Puts back what was there before.
    pub fn undo(&self, system: &dyn System) -> Undone {
        match self {
            Self::Value { path, kind, old, new } => undo_value(system, path, *kind, old, new),
            Self::Controller { directory, name } => undo_controller(system, directory, name),
            Self::Group { path } => remove_group(system, path),
            Self::Member { process, from } => go_back(system, *process, from),
            Self::Affinities(snapshot) => snapshot.restore(system),
        }
    }
}

fn undo_value(system: &dyn System, path: &str, kind: Kind, old: &str, new: &str) -> Undone {
    let now = match system.read(path) {
        Ok(text) => kind.value(&text),
        // An interrupt that was freed, a core that went: nothing is left to put back.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Undone::Back,
        Err(error) => return Undone::Failed(format!("cannot read {path}: {}", reason(&error))),
    };
    if now == old {
        return Undone::Back;
    }
    if now != new {
        return Undone::Dropped(format!(
            "{path} is {now} by now: somebody else has changed it from our {new}; it was {old}"
        ));
    }
    match system.write(path, old) {
        Ok(()) => Undone::Back,
        Err(error) => Undone::Failed(format!("cannot write {old} to {path}: {}", reason(&error))),
    }
}

/// Switched off only when no other group has come to rely on it.
fn undo_controller(system: &dyn System, directory: &str, name: &str) -> Undone {
    let has_come =
        |group: &String| system.read(&format!("{directory}/{group}/cpuset.cpus")).is_ok_and(|cores| !cores.is_empty());
    if let Some(group) = system.list(directory).unwrap_or_default().iter().find(|group| has_come(group)) {
        return Undone::Dropped(format!("controller {name} stays on in {directory}: the group {group} uses it by now"));
    }
    match system.write(&format!("{directory}/cgroup.subtree_control"), &format!("-{name}")) {
        Ok(()) => Undone::Back,
        Err(error) => Undone::Failed(format!("cannot switch {name} off in {directory}: {}", reason(&error))),
    }
}

/// Ends what is left in the group first: programs of a comparison that was killed.
fn remove_group(system: &dyn System, path: &str) -> Undone {
    let start = Instant::now();
    loop {
        match system.remove_directory(path) {
            Ok(()) => return Undone::Back,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Undone::Back,
            Err(error) if start.elapsed() > PATIENCE => {
                return Undone::Failed(format!("cannot remove the control group {path}: {}", reason(&error)));
            }
            Err(_) => {}
        }
        let left = system.read(&format!("{path}/cgroup.procs")).unwrap_or_default();
        for process in left.split_whitespace().filter_map(|word| word.parse().ok()) {
            if let Err(error) = clear(system, path, process) {
                let why = reason(&error);
                return Undone::Failed(format!("cannot get process {process} out of the control group {path}: {why}"));
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Whoever puts back may be in the group itself: a program of the comparison that had just been started when
/// that was killed. It goes to the group above.
fn clear(system: &dyn System, path: &str, process: u32) -> io::Result<()> {
    match (process == std::process::id(), path.rsplit_once('/')) {
        (true, Some((above, _))) => system.write(&format!("{above}/cgroup.procs"), &process.to_string()),
        _ => system.end_process(process),
    }
}

/// The group matters only while the process lives, and the only one that can is this one.
fn go_back(system: &dyn System, process: u32, from: &str) -> Undone {
    if process != std::process::id() {
        return Undone::Back;
    }
    match system.write(from, &process.to_string()) {
        Ok(()) => Undone::Back,
        Err(error) => Undone::Failed(format!("cannot return to the control group of {from}: {}", reason(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn texts_that_mean_the_same_are_the_same() {
        assert_eq!(Kind::Plain.value("120\n"), "120");
        assert_eq!(Kind::Choice.value("always [madvise] never\n"), "madvise");
        assert_eq!(Kind::Choice.value("performance"), "performance");
        assert_eq!(Kind::List.value("0,1,2\n"), "0-2");
        assert_eq!(Kind::Mask.value("00000000,00000007"), "7");
        assert_eq!(Kind::Mask.value("(null)"), "(null)");
    }
}
