//! The directory where this program keeps what concerns the whole node: a lock and a journal.
//!
//! The lock is held for as long as a comparison lasts: exclusively by one that tunes the node, shared by those
//! that do not. So no run is measured on a Linux that somebody else's comparison has tuned, and a journal
//! without a lock is what a killed comparison left. Linux ends a lock with its process, whatever ends that.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use super::journal::{GivenBack, Journal, Owner};
use super::system::System;
use crate::error::Failure;
use crate::machine::date;

/// Of the superuser, the only one who can tune. `/run` is empty after a reboot, as the settings are gone.
pub const PLACE: &str = "/run/tacet-bench";

const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// The directory.
#[derive(Clone, Debug)]
pub struct State {
    directory: PathBuf,
}

/// A lock of the node, until it is dropped.
#[derive(Debug)]
pub struct Lock(#[allow(dead_code, reason = "closing the file ends the lock")] File);

/// What a killed comparison had left, and what became of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Its process.
    pub process: u32,
    /// When it had tuned the node.
    pub date: String,
    /// What was undone.
    pub given_back: GivenBack,
}

impl State {
    /// In this directory.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    fn journal(&self) -> PathBuf {
        self.directory.join("journal")
    }

    /// Makes the directory if it is not there. Nobody but its owner may write to it.
    fn make(&self) -> Result<(), Failure> {
        match DirBuilder::new().mode(0o755).create(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(self.failed("make", &error)),
            _ => {}
        }
        let metadata = fs::symlink_metadata(&self.directory).map_err(|error| self.failed("look at", &error))?;
        let owner = fs::metadata("/proc/self").map(|own| own.uid()).unwrap_or(0);
        if metadata.is_dir() && metadata.uid() == owner && metadata.permissions().mode() & 0o022 == 0 {
            return Ok(());
        }
        let place = self.directory.display();
        Err(Failure::new(format!("{place} is not a directory that only you can write to; remove it, then start again")))
    }

    /// The lock for a comparison that tunes. Waits for those that are there; `wait` is called once, with what it
    /// waits for, if it has to.
    pub fn lock(&self, wait: impl FnOnce(&str)) -> Result<Lock, Failure> {
        self.make()?;
        let file = File::options().create(true).truncate(false).write(true).open(self.directory.join("lock"));
        let file = file.map_err(|error| self.failed("open the lock in", &error))?;
        // Readable for all, so that others can share it.
        file.set_permissions(Permissions::from_mode(0o644)).map_err(|error| self.failed("open the lock in", &error))?;
        acquire(&file, File::try_lock, File::lock, wait).map_err(|error| self.failed("lock", &error))?;
        Ok(Lock(file))
    }

    /// The lock for a comparison that does not tune: there is none as long as nobody ever has.
    pub fn share(&self, wait: impl FnOnce(&str)) -> Result<Option<Lock>, Failure> {
        let Ok(file) = File::open(self.directory.join("lock")) else { return Ok(None) };
        acquire(&file, File::try_lock_shared, File::lock_shared, wait).map_err(|error| self.failed("lock", &error))?;
        Ok(Some(Lock(file)))
    }

    /// Whether there is a journal.
    pub fn has_journal(&self) -> bool {
        self.journal().exists()
    }

    /// A journal for a tuning that begins. The lock is whose holder alone may do so.
    pub fn begin(&self, system: &dyn System, _lock: &Lock) -> Result<Journal, Failure> {
        let owner = Owner::this_process(boot(system), date::now());
        Journal::create(&self.journal(), owner).map_err(|error| self.failed("write the journal in", &error))
    }

    /// Undoes what a killed comparison has left. None when there is nothing, or when its owner lives.
    pub fn recover(&self, system: &dyn System) -> Result<Option<Recovered>, Failure> {
        if !self.has_journal() {
            return Ok(None);
        }
        let file = File::options().write(true).open(self.directory.join("lock"));
        let file = file.map_err(|error| self.failed("open the lock in", &error))?;
        match file.try_lock() {
            Ok(()) => self.recover_locked(system, &Lock(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(self.failed("lock", &error)),
        }
    }

    /// The same for who has the lock.
    pub fn recover_locked(&self, system: &dyn System, _lock: &Lock) -> Result<Option<Recovered>, Failure> {
        let unreadable = |error: io::Error| {
            let path = self.journal();
            Failure::new(format!(
                "cannot use the journal {}: {error}; it says what a killed tacet-bench changed on this node: put that back by hand, then remove it",
                path.display()
            ))
        };
        let Some(journal) = Journal::open(&self.journal()).map_err(unreadable)? else { return Ok(None) };
        let (process, date) = (journal.owner().process, journal.owner().date.clone());
        let given_back = if journal.owner().boot == boot(system) {
            journal.give_back(system).map_err(unreadable)?
        } else {
            // Linux was started anew since: all of it is gone.
            journal.discard().map_err(unreadable)?;
            GivenBack::default()
        };
        Ok(Some(Recovered { process, date, given_back }))
    }

    /// Who has tuned the node, as its journal says.
    pub fn owner(&self) -> Option<Owner> {
        Some(Journal::open(&self.journal()).ok()??.owner().clone())
    }

    fn failed(&self, what: &str, error: &io::Error) -> Failure {
        let place = self.directory.display();
        Failure::new(format!(
            "cannot {what} {place}: {error}; give --baseline default to leave the node's Linux as it is"
        ))
    }
}

fn acquire(
    file: &File,
    attempt: fn(&File) -> Result<(), TryLockError>,
    insist: fn(&File) -> io::Result<()>,
    wait: impl FnOnce(&str),
) -> io::Result<()> {
    match attempt(file) {
        Ok(()) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
        Err(TryLockError::WouldBlock) => {
            wait("waiting for another tacet-bench that compares on this node: one of the two tunes its Linux");
            insist(file)
        }
    }
}

fn boot(system: &dyn System) -> String {
    system.read(BOOT).unwrap_or_default()
}
