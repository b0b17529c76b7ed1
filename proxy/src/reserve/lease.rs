//! What this process holds of the node, and giving it back.
//!
//! The entry of this process has several owners: the lease, and what keeps it up to date from
//! elsewhere. Whoever of them is the last gives back all that is still in it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bare::give_back;
use super::keeper::Keeper;
use super::ledger::{Entry, Ledger, LedgerError, Locked, Reach, failed};
use super::processes::Process;

/// The entry of this process.
#[derive(Debug)]
pub struct Own {
    ledger: Ledger,
    entry: Mutex<Entry>,
}

impl Own {
    pub(super) fn new(ledger: Ledger, entry: Entry) -> Arc<Self> {
        Arc::new(Own { ledger, entry: Mutex::new(entry) })
    }

    /// The ledger that it is in.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What it says now.
    pub fn entry(&self) -> Entry {
        self.now().clone()
    }

    /// Changes it, here and in the ledger.
    pub fn update(&self, locked: &Locked, change: impl FnOnce(&mut Entry)) -> Result<(), LedgerError> {
        let mut entry = self.now();
        change(&mut entry);
        locked.write(&entry)
    }

    /// Gives back its bare part. `let_go` drops what this process itself holds of it, as soon as no
    /// core uses that any more.
    pub fn give_back_bare(&self, locked: &Locked, let_go: impl FnMut()) -> Result<(), LedgerError> {
        locked.give_back_bare(&mut self.now(), let_go)
    }

    /// The same where the ledger can't be had: better unwritten than not at all.
    pub fn give_back_unwritten(&self, let_go: impl FnMut()) {
        let mut record = self.now().bare.take().unwrap_or_default();
        for left in give_back::all(Path::new("/"), &mut record, true, &mut |_| Ok(()), let_go) {
            tracing::error!("{left}");
        }
    }

    fn now(&self) -> MutexGuard<'_, Entry> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let entry = self.entry.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.ledger.lock().and_then(|locked| locked.give_back(entry, || ())) {
            tracing::error!("{error}; then run `tacet reclaim`");
        }
    }
}

/// An entry of this process; what it holds is given back when it is dropped. The keeper, if
/// there is one, goes after that.
#[derive(Debug)]
pub struct Lease {
    own: Arc<Own>,
    keeper: Option<Arc<Keeper>>,
}

impl Lease {
    pub(super) fn new(own: Arc<Own>) -> Self {
        Lease { own, keeper: None }
    }

    /// The entry.
    pub fn own(&self) -> &Arc<Own> {
        &self.own
    }

    /// Sees to it that what is held is given back even if this process is killed. No other
    /// thread may have been started, and all signals must be held back.
    pub fn guard(&mut self) {
        let proxy = self.own.now().proxy;
        match Keeper::start(&self.own.ledger, proxy) {
            Ok(keeper) => drop(self.keep(keeper)),
            Err(error) => tracing::info!("if this process is killed, `tacet reclaim` has to give back: {error}"),
        }
    }

    /// Has a keeper for as long as the entry is there.
    pub(super) fn keep(&mut self, keeper: Keeper) -> Arc<Keeper> {
        Arc::clone(self.keeper.insert(Arc::new(keeper)))
    }

    /// Notes the cell's process.
    pub fn set_child(&mut self, pid: u32) -> Result<(), LedgerError> {
        let child = Process::read(pid).map_err(failed("read what is needed for", &self.own.entry().program))?;
        self.own.update(&self.own.ledger.lock()?, |entry| entry.child = Some(child))
    }

    /// Notes where others can open the cell's memory.
    pub fn set_memory_file(&mut self, path: PathBuf) -> Result<(), LedgerError> {
        self.own.update(&self.own.ledger.lock()?, |entry| entry.memory_file = Some(path))
    }

    /// Notes where others find the program's memory.
    pub fn set_reach(&mut self, reach: Reach) -> Result<(), LedgerError> {
        self.own.update(&self.own.ledger.lock()?, |entry| entry.reach = Some(reach))
    }

    /// The settings that were changed.
    #[cfg(test)]
    pub fn settings(&self) -> Vec<super::ledger::Setting> {
        self.own.now().settings.clone()
    }
}
