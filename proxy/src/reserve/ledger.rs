//! Who holds what on this node.
//!
//! One directory per node and user, one lock file, one JSON file per cell. What a cell changes
//! on the node is written down *before* it is changed, with the value that was there, so that
//! whoever comes later can put it back when the cell's proxy could not. The lock is held for
//! moments only and no descriptor stays open.
//!
//! A setting of the node (say: large pages for shared memory) may be needed by several cells.
//! Each notes the value from before the first of them; the last one to go restores it.
//!
//! What a bare cell holds has a [`Record`] in its entry, which gets shorter as it is given back: what
//! can't be given back stays there, for the next one to try.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::launcher::Rank;
use crate::node::cpus::CpuSet;
use crate::node::pages::selected;
use crate::reserve::bare::give_back::{self, Left};
use crate::reserve::bare::record::Record;
use crate::reserve::processes::{Here, Process};

pub use crate::reserve::lease::Lease;
use crate::reserve::lease::Own;

/// Format of the entries.
const FORMAT: u32 = 2;
/// The oldest format that is read: it knows no bare cores.
const OLDEST: u32 = 1;

/// How long a keeper may take to give back what its proxy held.
const PATIENCE: Duration = Duration::from_secs(30);

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
    /// Some of what a cell held could not be given back.
    #[error("cell {proxy} is not given back completely: {}", .left.iter().map(Left::to_string).collect::<Vec<_>>().join("; "))]
    Left {
        /// The cell's proxy.
        proxy: u32,
        /// What is left, and why.
        left: Vec<Left>,
    },
}

pub(super) fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
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

/// Where the proxy of a bare cell has the cell's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Address in the proxy.
    pub base: u64,
    /// Bytes.
    pub len: u64,
    /// Offset of its description ([`shm_ipc::bare::Bare`]).
    pub description: u64,
    /// Where the frames of the program begin and end.
    pub frames: [u64; 2],
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
    /// Where others find the memory of the program, if it has none in a process of its own
    /// (`partition` platform).
    #[serde(default)]
    pub reach: Option<Reach>,
    /// The bare cores and what belongs to them (`partition` platform).
    #[serde(default)]
    pub bare: Option<Record>,
    /// Who gives that back when the proxy is killed: for as long as it lives, nobody else does.
    #[serde(default)]
    pub keeper: Option<Process>,
    /// The launcher, where the cell is one of several ranks.
    #[serde(default)]
    pub job: Option<Process>,
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
    /// The bare cores that it claims.
    pub bare: Option<Record>,
    /// The launcher, where it is one of several ranks.
    pub job: Option<Process>,
}

impl Entry {
    fn of_this_process(holding: Holding) -> io::Result<Self> {
        let Holding { program, rank, platform, cores, memory, bare, job } = holding;
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
            reach: None,
            bare,
            keeper: None,
            job,
        })
    }

    /// All processors that are this cell's: with those that share a physical core with its own,
    /// where they go offline.
    pub fn processors(&self) -> CpuSet {
        self.bare.as_ref().map_or(CpuSet::default(), Record::cpus).or(&self.cores)
    }

    /// Whether the cell is over. An entry from another namespace can't be judged and counts as
    /// alive.
    fn is_dead(&self, here: &Here) -> bool {
        self.here.boot != here.boot || (self.here.pid_namespace == here.pid_namespace && !self.proxy.is_alive())
    }

    /// Whether a keeper is about to give it back, or does so now.
    fn is_being_cleared(&self, here: &Here) -> bool {
        self.here == *here && self.is_dead(here) && self.keeper.is_some_and(|keeper| keeper.is_alive())
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

/// Where the ledger of this user is, or would be made.
pub fn place_of_this_user() -> PathBuf {
    place(nix::unistd::geteuid().as_raw(), std::env::var_os("XDG_RUNTIME_DIR").as_deref())
}

impl Ledger {
    /// The ledger of this node and user, made if it is not there.
    pub fn open() -> Result<Self, LedgerError> {
        Self::at(&place_of_this_user())
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

    /// Waits for its turn, and until everything is given back that dead cells held: by us, or by
    /// the keepers that are about it. Gives the cells that we gave back.
    pub fn lock_cleared(&self) -> Result<(Locked<'_>, Vec<Entry>), LedgerError> {
        let start = Instant::now();
        let mut collected = Vec::new();
        loop {
            let locked = self.lock()?;
            // Asked before: a keeper that is killed after it was left its cell has left it to nobody.
            let being_cleared = locked.entries()?.into_iter().find(|entry| entry.is_being_cleared(&locked.here));
            collected.extend(locked.collect()?);
            match being_cleared {
                None => return Ok((locked, collected)),
                Some(entry) if start.elapsed() > PATIENCE => {
                    let seconds = PATIENCE.as_secs();
                    tracing::warn!("the keeper of the dead cell {} gives nothing back in {seconds} s", entry.proxy.pid);
                    return Ok((locked, collected));
                }
                Some(_) => drop(locked),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where the lock for starting bare cores is.
    pub fn boot_lock(&self) -> PathBuf {
        self.directory.join("boot")
    }

    /// Where the memory of bare cells is mounted.
    pub fn memory_mount(&self) -> PathBuf {
        self.directory.join("huge")
    }

    /// The cell of a proxy that lives, without waiting for anybody: entries are replaced in one step.
    pub fn living(&self, proxy: u32) -> Option<Entry> {
        let entry = read_entry(&self.path_of(proxy)).ok()?;
        let is_here = Here::read().is_ok_and(|here| here == entry.here);
        (is_here && entry.proxy.pid == proxy && entry.proxy.is_alive()).then_some(entry)
    }

    /// Where what the cell of that proxy is to see of the machine is laid out, if it is.
    pub fn view_of(&self, proxy: u32) -> PathBuf {
        self.directory.join(format!("view-{proxy}"))
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
    /// away is told and stays. Those that have a keeper are its business.
    pub fn collect(&self) -> Result<Vec<Entry>, LedgerError> {
        let dead = self.entries()?.into_iter().filter(|entry| entry.is_dead(&self.here));
        self.clear(dead.filter(|entry| !entry.is_being_cleared(&self.here)), || ())
    }

    /// Gives back, as its keeper, what one proxy held. `let_go` drops what the keeper itself holds
    /// of it, as soon as no core uses that any more.
    pub fn collect_kept(&self, proxy: Process, let_go: impl FnMut()) -> Result<Vec<Entry>, LedgerError> {
        self.clear(
            self.entries()?.into_iter().filter(|entry| entry.proxy == proxy && entry.is_dead(&self.here)),
            let_go,
        )
    }

    fn clear(&self, dead: impl Iterator<Item = Entry>, mut let_go: impl FnMut()) -> Result<Vec<Entry>, LedgerError> {
        let mut collected = Vec::new();
        for mut entry in dead {
            if let Some(child) = &entry.child
                && entry.here == self.here
            {
                child.kill().map_err(failed("end what is left of", &entry.program))?;
            }
            let whole = entry.clone();
            match self.give_back(&mut entry, &mut let_go) {
                Ok(()) => collected.push(whole),
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
        Ok(Lease::new(Own::new(self.ledger.clone(), entry)))
    }

    /// Changes a setting of the node for as long as the lease, or that of another cell that
    /// needs the same, lives. `false` when Linux does not let us: nothing is changed then.
    pub fn change(&self, lease: &mut Lease, path: &Path, new: &str) -> Result<bool, LedgerError> {
        let now = value(path).map_err(failed("read", path))?;
        let held = self.entries()?.into_iter().flat_map(|entry| entry.settings).find(|setting| setting.path == path);
        let old = held.map_or(now, |setting| setting.old);
        let setting = Setting { path: path.to_owned(), old, new: new.to_owned() };
        lease.own().update(self, |entry| entry.settings.push(setting))?;
        if let Err(error) = fs::write(path, new) {
            tracing::info!("cannot change {}: {error}", path.display());
            lease.own().update(self, |entry| drop(entry.settings.pop()))?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Gives back bare cores first, restores what nobody else needs, then strikes the entry. What
    /// can't be given back stays in it.
    pub(super) fn give_back(&self, entry: &mut Entry, let_go: impl FnMut()) -> Result<(), LedgerError> {
        // Nothing of all this outlives the run of Linux in which it was taken.
        if entry.here.boot == self.here.boot {
            self.give_back_bare(entry, let_go)?;
            self.restore_settings(entry)?;
        }
        let view = self.ledger.view_of(entry.proxy.pid);
        if let Err(error) = fs::remove_dir_all(&view)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(failed("remove", &view)(error));
        }
        let path = self.ledger.path_of(entry.proxy.pid);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
            _ => Ok(()),
        }
    }

    /// Gives back what the entry's record has, and takes it out of the record.
    pub(super) fn give_back_bare(&self, entry: &mut Entry, let_go: impl FnMut()) -> Result<(), LedgerError> {
        let Some(mut record) = entry.bare.take() else { return Ok(()) };
        let mut others = self.entries()?.into_iter().filter(|other| other.proxy != entry.proxy);
        let others_mount = others.any(|other| other.bare.is_some_and(|record| record.mount.is_some()));
        let mut note = |record: &Record| {
            entry.bare = (!record.is_empty()).then(|| record.clone());
            self.write(entry)
        };
        let left = give_back::all(Path::new("/"), &mut record, others_mount, &mut note, let_go);
        entry.bare = (!record.is_empty()).then_some(record);
        if left.is_empty() { Ok(()) } else { Err(LedgerError::Left { proxy: entry.proxy.pid, left }) }
    }

    fn restore_settings(&self, entry: &Entry) -> Result<(), LedgerError> {
        let others: Vec<Entry> = self.living()?.into_iter().filter(|other| other.proxy != entry.proxy).collect();
        let needed = |path: &Path| others.iter().flat_map(|other| &other.settings).any(|setting| setting.path == path);
        for setting in entry.settings.iter().filter(|setting| !needed(&setting.path)) {
            restore(setting).map_err(failed("restore", &setting.path))?;
        }
        Ok(())
    }

    /// Writes an entry in one step: whoever reads sees the old one or the new one.
    pub(super) fn write(&self, entry: &Entry) -> Result<(), LedgerError> {
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
    if !(OLDEST..=FORMAT).contains(&entry.format) {
        return Err(format!("its format is {}, not {OLDEST} to {FORMAT}", entry.format));
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

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
