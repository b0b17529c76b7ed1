//! Bare cores and their memory: taken out of a running Linux, and given back to it.
//!
//! A bare core is one that Linux has been told to do without: it has gone through Linux's own
//! hotplug, and is then reset and started again, by us, in a kernel of our own. Nothing is loaded into
//! Linux for that. What it takes, each a file here:
//!
//! | | |
//! | --- | --- |
//! | [`choice`], [`amount`] | which cores, how much memory |
//! | [`cores`] | out of Linux and back: the switch for hotplug |
//! | [`pool`], [`mount`], [`memory`], [`mapping`] | large pages in a file that outlives us |
//! | [`pins`], [`pagemap`] | pages that stay where they are, and where that is |
//! | [`apic`], [`msr`] | starting cores, and calling them |
//! | [`low`] | the pages that they start in |
//! | [`record`], [`give_back`] | what the ledger knows of all this, and undoing it |
//! | [`groups`] | how the keeper survives the job |
//!
//! Whatever is taken is written into the ledger first. A proxy that dies leaves a core running a
//! kernel on memory that Linux believes to be a file's: so that file has a name, the keeper holds its
//! pins, and whoever gives back begins with the cores.

pub mod amount;
pub mod apic;
pub mod choice;
pub mod cores;
pub mod give_back;
pub mod groups;
pub mod low;
pub mod mapping;
pub mod memory;
pub mod mount;
pub mod msr;
pub mod pagemap;
pub mod pins;
pub mod pool;
pub mod record;
mod refused;

use std::io;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::descriptors::PrivateBand;
use crate::node::cpus::CpuSet;
use crate::node::lockdown;
use crate::reserve::Error;
use crate::reserve::keeper::Keeper;
use crate::reserve::lease::Own;
use crate::reserve::ledger::{Lease, LedgerError};
use apic::Apic;
use memory::{Memory, Promised, Store};
use pagemap::Pagemap;
use pins::Pins;
use record::{Core, Record};

pub use apic::ApicMode;
pub use low::LowPages;
pub use pins::Pinned;
pub use refused::Refused;

/// Bytes of a large page.
pub const CHUNK: u64 = 2 << 20;

/// Writes a record into the ledger.
pub type Note<'n> = dyn FnMut(&Record) -> Result<(), LedgerError> + 'n;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Linux's numbers of the cores: those that the plan gave to the cell. What shares a physical
    /// core with them goes offline too.
    pub cores: &'a CpuSet,
    /// The NUMA node of the memory.
    pub numa: u32,
    /// How much memory: a multiple of 2 MiB.
    pub bytes: u64,
}

/// Bare cores and their memory, taken from Linux. Gives all of it back when dropped, in the right
/// order.
#[derive(Debug)]
pub struct Bare {
    own: Arc<Own>,
    /// The cores that the cell computes on, in the order of their numbers.
    cores: Vec<Core>,
    /// Which of them we have started, and not stopped since.
    started: Vec<AtomicBool>,
    apic_ids: Vec<u32>,
    apic: Apic,
    pagemap: Pagemap,
    pins: Arc<Pins>,
    memory: Option<Memory>,
    /// Also the lease's. After `own`: it is to be there until that is struck.
    keeper: Option<Arc<Keeper>>,
}

// SAFETY: the memory is mapped for as long as this lives, whoever looks at it; everything else
// is data.
unsafe impl Send for Bare {}
// SAFETY: as above.
unsafe impl Sync for Bare {}

impl Bare {
    /// Takes everything, each thing written into the lease's ledger entry before it is taken. On
    /// error all is given back. No other thread may have been started, and all signals must be held
    /// back.
    ///
    /// # Errors
    /// [`Error::Bare`] says what Linux does not give and why; [`Error::Ledger`] that it can't be
    /// written down.
    pub fn take(wanted: &Wanted<'_>, lease: &mut Lease, band: &PrivateBand) -> Result<Bare, Error> {
        let root = Path::new("/");
        check_permission(root)?;
        let own = Arc::clone(lease.own());
        let claimed = own.entry().bare.unwrap_or_default();
        let claim = |cpu| claimed.cores.iter().find(|core| core.cpu == cpu).ok_or(Refused::NotClaimed { cpu });
        let cores: Vec<Core> = wanted.cores.iter().map(|cpu| claim(cpu).copied()).collect::<Result<_, _>>()?;
        let mut bare = Bare {
            own,
            apic_ids: cores.iter().map(|core| core.apic).collect(),
            started: cores.iter().map(|_| AtomicBool::new(false)).collect(),
            cores,
            apic: Apic::open(root)?.into_band(band)?,
            pagemap: Pagemap::open(band)?,
            pins: Pins::new(band)?,
            memory: None,
            keeper: None,
        };
        // From here on there is something to give back: dropping does it.
        let promised = bare.reserve_memory(root, wanted, lease, band)?;
        bare.memory = Some(promised.fill(wanted.cores, &bare.pagemap)?);
        for core in &claimed.cores {
            cores::take_offline(root, core.cpu).map_err(Refused::from)?;
        }
        Ok(bare)
    }

    /// Makes the memory's file, starts the keeper, which holds it, and sees to it that there are
    /// pages for it.
    fn reserve_memory(
        &mut self,
        root: &Path,
        wanted: &Wanted,
        lease: &mut Lease,
        band: &PrivateBand,
    ) -> Result<Promised, Error> {
        let own = Arc::clone(&self.own);
        let (locked, _) = own.ledger().lock_cleared()?;
        let (mount, path) = self.memory_path();
        own.update(&locked, |entry| {
            let record = entry.bare.get_or_insert_default();
            (record.mount, record.memory) = (Some(mount.clone()), Some(path.clone()));
            entry.memory_file = Some(path.clone());
        })?;
        mount::ensure(&mount).map_err(|error| Refused::NoMount { path: mount.display().to_string(), error })?;
        let pages = wanted.bytes / CHUNK;
        let store = Store::create(&path, pages, band)?;
        let held: Vec<i32> = store.fds().into_iter().chain([self.pins.fd()]).collect();
        match Keeper::start_holding(own.ledger(), own.entry().proxy, &held, band) {
            Ok(keeper) => self.keeper = Some(lease.keep(keeper)),
            Err(error) => tracing::warn!("if this process is killed, `tacet reclaim` has to give back: {error}"),
        }
        let keeper = self.keeper.as_ref().and_then(|keeper| keeper.process().ok());
        own.update(&locked, |entry| entry.keeper = keeper)?;
        let mut record = own.entry().bare.unwrap_or_default();
        let mut note = |record: &Record| own.update(&locked, |entry| entry.bare = Some(record.clone()));
        pool::raise(root, wanted.numa, pages, &mut record, &mut note)?;
        Ok(store.map(wanted.numa)?)
    }

    /// Where the file system and the file are.
    fn memory_path(&self) -> (PathBuf, PathBuf) {
        let mount = self.own.ledger().memory_mount();
        // Numbers of processes are used again; files of dead ones may still be there.
        let proxy = self.own.entry().proxy;
        let path = mount.join(format!("cell-{}-{}", proxy.pid, proxy.started));
        (mount, path)
    }

    /// The memory, mapped contiguously in this process, readable and writable: [`Bare::len`] bytes,
    /// aligned to 2 MiB. Once this is dropped, other memory is there, which nobody looks at.
    pub fn base(&self) -> NonNull<u8> {
        self.memory().mapping().base()
    }

    /// Bytes of memory.
    pub fn len(&self) -> u64 {
        self.memory().mapping().len() as u64
    }

    /// The physical address of each 2 MiB of it, in the order of the mapping at [`Bare::base`]:
    /// ascending, but for the first few.
    pub fn chunks(&self) -> &[u64] {
        self.memory().chunks()
    }

    /// The APIC ids of the cores, in the order of their numbers.
    pub fn apic_ids(&self) -> &[u32] {
        &self.apic_ids
    }

    /// How they are addressed.
    pub fn apic_mode(&self) -> ApicMode {
        self.apic.mode()
    }

    /// Takes two contiguous pages below 1 MiB to start cores in. One proxy of a node can hold such
    /// pages at a time; others wait. What was in them is put back by [`LowPages::done`], or at the
    /// end of all.
    pub fn low(&self) -> Result<LowPages<'_>, Error> {
        LowPages::take(self)
    }

    /// Resets core `index` and lets it start at page `vector` below 1 MiB, in real mode: INIT, 10 ms,
    /// SIPI. Whether it does, only its kernel can tell.
    pub fn start_core(&self, index: usize, vector: u8) -> Result<(), Error> {
        let start = |core: &Core| {
            self.started[index].store(true, Ordering::Relaxed);
            self.apic.start(core.apic, vector)
        };
        let started = self.core(index).and_then(start);
        Ok(started.map_err(|error| Refused::System {
            what: "start a core",
            error,
            advice: "run tacet as root; `dmesg` may say more",
        })?)
    }

    /// Sends a non-maskable interrupt to core `index`.
    pub fn interrupt(&self, index: usize) -> io::Result<()> {
        self.apic.interrupt(self.core(index)?.apic)
    }

    /// Makes core `index` stand still: INIT without SIPI.
    pub fn stop_core(&self, index: usize) -> io::Result<()> {
        self.apic.init(self.core(index)?.apic)?;
        self.started[index].store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Stops what still runs, all of it before the first core is back with Linux. In xAPIC mode,
    /// where each command has a risk of its own, that is left to Linux, core by core.
    fn stop_all(&self) {
        let running = |index: &usize| self.started[*index].load(Ordering::Relaxed);
        for index in (0..self.cores.len()).filter(running).filter(|_| self.apic.mode() == ApicMode::X2) {
            if let Err(error) = self.stop_core(index) {
                tracing::debug!("core {} is not stopped: {error}", self.cores[index].cpu);
            }
        }
    }

    /// Pins pages of shared memory (tmpfs, hugetlbfs, memfd) that this process has mapped at
    /// `at..at + len`, writable, in whole pages of 4 KiB. Pages that are not there yet come.
    ///
    /// # Errors
    /// EOPNOTSUPP for memory that is another file system's, EFAULT for what is not mapped or not
    /// writable, ENOSPC when more is pinned than we have places for.
    pub fn pin(&self, at: u64, len: u64) -> io::Result<Pinned> {
        self.pins.pin(at, len, &self.pagemap)
    }

    fn core(&self, index: usize) -> io::Result<&Core> {
        self.cores.get(index).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "there is no such core"))
    }

    fn memory(&self) -> &Memory {
        self.memory.as_ref().expect("taken before anybody gets to see it")
    }

    fn own(&self) -> &Arc<Own> {
        &self.own
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.stop_all();
        let own = Arc::clone(&self.own);
        let let_go = || {
            if let Some(keeper) = &self.keeper {
                keeper.let_go();
            }
            self.pins.unpin();
            if let Some(memory) = self.memory.take() {
                memory.abandon();
            }
        };
        let given_back = match own.ledger().lock() {
            Ok(locked) => own.give_back_bare(&locked, let_go),
            Err(error) => {
                own.give_back_unwritten(let_go);
                Err(error)
            }
        };
        if let Err(error) = given_back {
            tracing::error!("{error}; then run `tacet reclaim`");
        }
    }
}

/// What no later error would say as clearly.
fn check_permission(root: &Path) -> Result<(), Refused> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Refused::NotRoot);
    }
    match lockdown::mode(root) {
        Some(mode) if mode != "none" => Err(Refused::Lockdown { mode }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod node_tests;
