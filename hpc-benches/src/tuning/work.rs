//! What the steps of tuning share: which cores it is about, and changing a file with the journal first.

use std::io;

use super::change::{Change, Kind};
use super::journal::Journal;
use super::system::{System, reason};
use crate::machine::cpu_set::CpuSet;

/// The cores that a tuned Linux is set up for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where the program runs.
    pub measured: CpuSet,
    /// What is kept free: the measured cores and their siblings. Empty when no core would be left for the
    /// rest of Linux; then only what concerns no particular core is changed.
    pub isolated: CpuSet,
    /// All cores that Linux has online.
    pub online: CpuSet,
}

/// A tuning in progress.
pub struct Work<'w> {
    /// The node's Linux.
    pub system: &'w dyn System,
    /// What was changed so far.
    pub journal: &'w mut Journal,
    /// The cores.
    pub target: &'w Target,
}

/// What became of a value that should be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was this before.
    From(String),
    /// It had the wanted value.
    Already,
    /// Why it could not be changed.
    No(String),
}

impl Target {
    /// The cores for programs that run on `measured`.
    pub fn of(system: &dyn System, measured: CpuSet) -> Result<Self, String> {
        const ONLINE: &str = "/sys/devices/system/cpu/online";
        let text = system.read(ONLINE).map_err(|error| format!("cannot read {ONLINE}: {}", reason(&error)))?;
        let online = CpuSet::from_list(&text).ok_or_else(|| format!("{ONLINE} is no list of processors: {text}"))?;
        let mut isolated = measured.clone();
        for core in measured.iter() {
            isolated = isolated.union(&siblings(system, core));
        }
        let isolated = if online.minus(&isolated).is_empty() { CpuSet::default() } else { isolated };
        Ok(Self { measured, isolated, online })
    }

    /// The cores that are left for the rest of Linux.
    pub fn others(&self) -> CpuSet {
        self.online.minus(&self.isolated)
    }

    /// Why there are no isolated cores, if there are none.
    pub fn why_not_isolated(&self) -> Option<String> {
        let all = || format!("the suite runs on all cores ({}): none is left for the rest of Linux", self.measured);
        self.isolated.is_empty().then(all)
    }
}

/// The processors that share a physical core with this one, itself included.
pub fn siblings(system: &dyn System, core: usize) -> CpuSet {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    let listed = system.read(&path).ok().and_then(|text| CpuSet::from_list(&text));
    listed.unwrap_or_default().union(&CpuSet::from_iter([core]))
}

impl Work<'_> {
    /// Gives the file the value `wanted`: writes down, writes, and looks what Linux made of it.
    pub fn change(&mut self, path: &str, kind: Kind, wanted: &str) -> Changed {
        match self.system.read(path) {
            Ok(text) => self.change_from(path, kind, &kind.value(&text), &kind.value(wanted)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Changed::No(format!("this kernel has no {path}")),
            Err(error) => Changed::No(format!("cannot read {path}: {}", reason(&error))),
        }
    }

    fn change_from(&mut self, path: &str, kind: Kind, old: &str, wanted: &str) -> Changed {
        if old == wanted {
            return Changed::Already;
        }
        let change = Change::Value { path: path.to_owned(), kind, old: old.to_owned(), new: wanted.to_owned() };
        if let Err(error) = self.journal.record(change) {
            return Changed::No(format!("cannot note that {path} was {old}: {}", reason(&error)));
        }
        if let Err(error) = self.system.write(path, wanted) {
            return Changed::No(format!("cannot write {wanted} to {path}: {}", reason(&error)));
        }
        let now = self.system.read(path).map(|text| kind.value(&text)).unwrap_or_else(|_| wanted.to_owned());
        if now == wanted {
            return Changed::From(old.to_owned());
        }
        if let Err(error) = self.journal.became(&now) {
            return Changed::No(format!("cannot note that {path} became {now}: {}", reason(&error)));
        }
        Changed::No(format!("Linux made {now} of {wanted} in {path}"))
    }
}
