//! Who holds what on this node.
//!
//! One directory per node and user, one lock file, one JSON file per cell. What a cell changes
//! on the node is written down *before* it is changed, with the value that was there, so that
//! whoever comes later can put it back when the cell's proxy could not. The lock is held for
//! moments only and no descriptor stays open.
//!
//! A setting of the node (say: large pages for shared memory) may be needed by several cells.
//! Each notes the value from before the first of them; the last one to go restores it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::launcher::Rank;
use crate::node::cpus::CpuSet;
use crate::node::pages::selected;
use crate::reserve::keeper::Keeper;
use crate::reserve::processes::{Here, Process};

/// Format of the entries.
const FORMAT: u32 = 1;

/// What can go wrong with the ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Linux refuses.
    #[error("cannot {what} {}: {error}; check that the directory is yours and its file system has room", .path.display())]
    System {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What Linux said.
        error: io::Error,
    },
    /// Somebody else could write to it.
    #[error("the ledger {} is not a directory of your own that only you can write to; remove it", .0.display())]
    NotOurs(PathBuf),
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    move |error| LedgerError::System { what, path: path.to_owned(), error }
}

/// A setting of the node that a cell has changed: a file whose text has the value in force in
/// brackets, as in `always [madvise] never`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The file.
    pub path: PathBuf,
    /// The value from before the first cell.
    pub old: String,
    /// The value that cells need.
    pub new: String,
}

/// A cell, as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    format: u32,
    /// Which run of Linux, which namespace: where the process numbers below mean something.
    pub here: Here,
    /// The proxy that owns the cell.
    pub proxy: Process,
    /// The cell's process, once it is there (`process` platform).
    pub child: Option<Process>,
    /// The program's path.
    pub program: PathBuf,
    /// Which rank it is.
    pub rank: Option<Rank>,
    /// How it is set apart.
    pub platform: String,
    /// Its cores.
    pub cores: CpuSet,
    /// Its memory in bytes, at most.
    pub memory: u64,
    /// What it has changed on the node.
    pub settings: Vec<Setting>,
    /// Where others can open its memory, to read the counters: `/proc/PID/fd/N` of the proxy, say.
    #[serde(default)]
    pub memory_file: Option<PathBuf>,
}

/// What an entry is to say about a cell.
#[derive(Debug, Clone)]
pub struct Holding {
    /// The program's path.
    pub program: PathBuf,
    /// Which rank it is.
    pub rank: Option<Rank>,
    /// How it is set apart.
    pub platform: String,
    /// Its cores.
    pub cores: CpuSet,
    /// Its memory in bytes, at most.
    pub memory: u64,
}

impl Entry {
    fn of_this_process(holding: Holding) -> io::Result<Self> {
        let Holding { program, rank, platform, cores, memory } = holding;
        let (here, proxy) = (Here::read()?, Process::read(std::process::id())?);
        Ok(Entry {
            format: FORMAT,
            here,
            proxy,
            child: None,
            program,
            rank,
            platform,
            cores,
            memory,
            settings: Vec::new(),
            memory_file: None,
        })
    }

    /// Whether the cell is over. An entry from another namespace can't be judged and counts as
    /// alive.
    fn is_dead(&self, here: &Here) -> bool {
        self.here.boot != here.boot || (self.here.pid_namespace == here.pid_namespace && !self.proxy.is_alive())
    }
}

/// The ledger of this node.
#[derive(Debug, Clone)]
pub struct Ledger {
    directory: PathBuf,
}

/// The ledger while no one else may use it.
#[derive(Debug)]
pub struct Locked<'l> {
    ledger: &'l Ledger,
    here: Here,
    // Closing it ends the lock.
    _lock: File,
}

/// Where the ledger is: for root one that all of root's sessions share, for others one of their
/// own.
fn place(user: u32, runtime_dir: Option<&OsStr>) -> PathBuf {
    match runtime_dir.filter(|dir| Path::new(dir).is_dir()) {
        _ if user == 0 => PathBuf::from("/run/tacet"),
        Some(dir) => Path::new(dir).join("tacet"),
        None => PathBuf::from(format!("/tmp/tacet-{user}")),
    }
}

impl Ledger {
    /// The ledger of this node and user, made if it is not there.
    pub fn open() -> Result<Self, LedgerError> {
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR");
        Self::at(&place(nix::unistd::geteuid().as_raw(), runtime_dir.as_deref()))
    }

    /// A ledger in this directory, made if it is not there.
    pub fn at(directory: &Path) -> Result<Self, LedgerError> {
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("make the ledger", directory)(error));
            }
            _ => {}
        }
        let metadata = directory.symlink_metadata().map_err(failed("look at the ledger", directory))?;
        let is_ours = metadata.is_dir() && metadata.uid() == nix::unistd::geteuid().as_raw();
        if !is_ours || metadata.permissions().mode() & 0o022 != 0 {
            return Err(LedgerError::NotOurs(directory.to_owned()));
        }
        Ok(Ledger { directory: directory.to_owned() })
    }

    /// Waits for its turn.
    pub fn lock(&self) -> Result<Locked<'_>, LedgerError> {
        let path = self.directory.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(failed("open", &path))?;
        lock.lock().map_err(failed("lock", &path))?;
        let here = Here::read().map_err(failed("read what is needed for", &self.directory))?;
        Ok(Locked { ledger: self, here, _lock: lock })
    }

    fn path_of(&self, proxy: u32) -> PathBuf {
        self.directory.join(format!("cell-{proxy}.json"))
    }
}

impl Locked<'_> {
    /// The entries of all cells, dead ones included. A file that is none is named and moved
    /// aside, so that it is named once.
    pub fn entries(&self) -> Result<Vec<Entry>, LedgerError> {
        let directory = &self.ledger.directory;
        let files = fs::read_dir(directory).map_err(failed("list", directory))?;
        let mut entries = Vec::new();
        for file in files {
            let path = file.map_err(failed("list", directory))?.path();
            if path.extension() != Some(OsStr::new("json")) {
                continue;
            }
            match read_entry(&path) {
                Ok(entry) if self.ledger.path_of(entry.proxy.pid) == path => entries.push(entry),
                Ok(_) => set_aside(&path, "it is named after another process")?,
                Err(why) => set_aside(&path, &why)?,
            }
        }
        entries.sort_by_key(|entry| entry.proxy.pid);
        Ok(entries)
    }

    /// The entries of all cells, and whether each is dead.
    pub fn entries_with_state(&self) -> Result<Vec<(Entry, bool)>, LedgerError> {
        let entries = self.entries()?.into_iter();
        let judged = entries.map(|entry| {
            let is_dead = entry.is_dead(&self.here);
            (entry, is_dead)
        });
        Ok(judged.collect())
    }

    /// The entries of cells that live.
    pub fn living(&self) -> Result<Vec<Entry>, LedgerError> {
        let mut entries = self.entries()?;
        entries.retain(|entry| !entry.is_dead(&self.here));
        Ok(entries)
    }

    /// Gives back what dead cells left behind; says which they were. One that can't be cleared
    /// away is told and stays.
    pub fn collect(&self) -> Result<Vec<Entry>, LedgerError> {
        let mut collected = Vec::new();
        for entry in self.entries()?.into_iter().filter(|entry| entry.is_dead(&self.here)) {
            if let Some(child) = &entry.child
                && entry.here == self.here
            {
                child.kill().map_err(failed("end what is left of", &entry.program))?;
            }
            match self.give_back(&entry) {
                Ok(()) => collected.push(entry),
                Err(error) => tracing::warn!("{error}"),
            }
        }
        Ok(collected)
    }

    /// Enters a cell of this process.
    pub fn enter(&self, holding: Holding) -> Result<Lease, LedgerError> {
        let directory = &self.ledger.directory;
        let entry = Entry::of_this_process(holding).map_err(failed("read what is needed for", directory))?;
        self.write(&entry)?;
        Ok(Lease { ledger: self.ledger.clone(), entry, keeper: None })
    }

    /// Changes a setting of the node for as long as the lease, or that of another cell that
    /// needs the same, lives. `false` when Linux does not let us: nothing is changed then.
    pub fn change(&self, lease: &mut Lease, path: &Path, new: &str) -> Result<bool, LedgerError> {
        let now = value(path).map_err(failed("read", path))?;
        let held = self.entries()?.into_iter().flat_map(|entry| entry.settings).find(|setting| setting.path == path);
        let old = held.map_or(now, |setting| setting.old);
        lease.entry.settings.push(Setting { path: path.to_owned(), old, new: new.to_owned() });
        self.write(&lease.entry)?;
        if let Err(error) = fs::write(path, new) {
            tracing::info!("cannot change {}: {error}", path.display());
            lease.entry.settings.pop();
            self.write(&lease.entry)?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Restores what nobody else needs, then strikes the entry.
    fn give_back(&self, entry: &Entry) -> Result<(), LedgerError> {
        let others: Vec<Entry> = self.living()?.into_iter().filter(|other| other.proxy != entry.proxy).collect();
        let needed = |path: &Path| others.iter().flat_map(|other| &other.settings).any(|setting| setting.path == path);
        // Settings do not outlive the run of Linux in which they were made.
        let settings = entry.settings.iter().filter(|_| entry.here.boot == self.here.boot);
        for setting in settings.filter(|setting| !needed(&setting.path)) {
            restore(setting).map_err(failed("restore", &setting.path))?;
        }
        let path = self.ledger.path_of(entry.proxy.pid);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// Writes an entry in one step: whoever reads sees the old one or the new one.
    fn write(&self, entry: &Entry) -> Result<(), LedgerError> {
        let path = self.ledger.path_of(entry.proxy.pid);
        let draft = path.with_extension("draft");
        let text = serde_json::to_vec(entry).map_err(|error| failed("write", &path)(error.into()))?;
        let write = || File::create(&draft)?.write_all(&text);
        write().map_err(failed("write", &draft))?;
        fs::rename(&draft, &path).map_err(failed("write", &path))
    }
}

fn read_entry(path: &Path) -> Result<Entry, String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    let entry: Entry = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    if entry.format != FORMAT {
        return Err(format!("its format is {}, not {FORMAT}", entry.format));
    }
    Ok(entry)
}

fn set_aside(path: &Path, why: &str) -> Result<(), LedgerError> {
    let aside = path.with_extension("unreadable");
    fs::rename(path, &aside).map_err(failed("move aside", path))?;
    tracing::warn!("{} is not an entry of the ledger: {why}; it is now {}", path.display(), aside.display());
    Ok(())
}

fn value(path: &Path) -> io::Result<String> {
    let text = fs::read_to_string(path)?;
    let word = selected(&text).ok_or_else(|| io::Error::other("no value in brackets"))?;
    Ok(word.to_owned())
}

/// Puts the old value back, unless somebody has set another one since.
fn restore(setting: &Setting) -> io::Result<()> {
    if value(&setting.path)? == setting.new { fs::write(&setting.path, &setting.old) } else { Ok(()) }
}

/// An entry of this process; what it holds is given back when it is dropped. The keeper, if
/// there is one, goes after that.
#[derive(Debug)]
pub struct Lease {
    ledger: Ledger,
    entry: Entry,
    keeper: Option<Keeper>,
}

impl Lease {
    /// Sees to it that what is held is given back even if this process is killed. No other
    /// thread may have been started, and all signals must be held back.
    pub fn guard(&mut self) {
        match Keeper::start(&self.ledger, self.entry.proxy) {
            Ok(keeper) => self.keeper = Some(keeper),
            Err(error) => tracing::info!("if this process is killed, `tacet reclaim` has to give back: {error}"),
        }
    }

    /// Notes the cell's process.
    pub fn set_child(&mut self, pid: u32) -> Result<(), LedgerError> {
        let child = Process::read(pid).map_err(failed("read what is needed for", &self.ledger.directory))?;
        self.entry.child = Some(child);
        self.ledger.lock()?.write(&self.entry)
    }

    /// Notes where others can open the cell's memory.
    pub fn set_memory_file(&mut self, path: PathBuf) -> Result<(), LedgerError> {
        self.entry.memory_file = Some(path);
        self.ledger.lock()?.write(&self.entry)
    }

    /// The settings that were changed.
    #[cfg(test)]
    pub fn settings(&self) -> &[Setting] {
        &self.entry.settings
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Err(error) = self.ledger.lock().and_then(|locked| locked.give_back(&self.entry)) {
            tracing::error!("{error}; then run `tacet reclaim`");
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
