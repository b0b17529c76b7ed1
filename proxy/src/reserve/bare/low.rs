//! Two pages below 1 MiB: where a core starts after a reset, in real mode, which sees no other
//! memory.
//!
//! Since 5.13 Linux gives none of the first MiB out (`reserve_real_mode`). It uses some of it itself:
//! the code by which *it* starts cores, as high as it found room, and what the firmware left. We
//! take two pages from the middle of the longest stretch of pages which are memory, which Linux has
//! set aside, and which are zero all over: what is in use is not zero, and its neighbourhood is left
//! alone. What was in them is written to the ledger before anything else is, and put back.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::mapping::{Access, Mapping};
use super::pagemap::PAGE;
use super::record::{Record, Saved};
use super::{Bare, Refused};
use crate::node::low_memory::{self, PageFlags};
use crate::reserve::Error;
use crate::reserve::ledger::Locked;

/// How many pages.
const PAGES: u64 = 2;
/// Bytes of them.
const BYTES: usize = (PAGES * PAGE) as usize;
/// Pages that must be unused on either side of them.
const MARGIN: u64 = 4;

/// How long others may take to start their cores.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two contiguous pages below 1 MiB. They are put back by [`LowPages::done`]; when they are just
/// dropped, a core may still be in them, and they are put back with everything else, after the cores.
#[derive(Debug)]
pub struct LowPages<'b> {
    bare: &'b Bare,
    saved: Saved,
    memory: Mapping,
    // Closing it ends the lock: last.
    _turn: File,
}

impl<'b> LowPages<'b> {
    /// Waits for its turn and takes them.
    pub(super) fn take(bare: &'b Bare) -> Result<Self, Error> {
        let root = Path::new("/");
        let own = bare.own();
        let turn = turn(&own.ledger().boot_lock())?;
        let (locked, _) = own.ledger().lock_cleared()?;
        let at = choose(root, &taken(&locked)?)?;
        let memory = map(root, at.into(), BYTES, Access::Write).map_err(|error| unmapped(root, error))?;
        let mut content = [0; BYTES];
        memory.read(0, &mut content);
        let saved = Saved::new(at, &content);
        own.update(&locked, |entry| entry.bare.get_or_insert_default().low = Some(saved.clone()))?;
        Ok(LowPages { bare, saved, memory, _turn: turn })
    }

    /// The physical address of the first.
    pub fn physical(&self) -> u32 {
        self.saved.at
    }

    /// Writes into them. Panics when that would reach beyond their end.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.memory.write(offset, bytes);
    }

    /// Puts back what was there. No core may be in them any more.
    pub fn done(self) -> Result<(), Error> {
        let own = self.bare.own();
        let locked = own.ledger().lock()?;
        // Made by us from the pages themselves: never damaged.
        self.memory.write(0, &self.saved.content().unwrap_or_default());
        own.update(&locked, |entry| {
            if let Some(record) = &mut entry.bare {
                record.low = None;
            }
        })?;
        Ok(())
    }

    /// Reads from them (for tests). Panics when that would reach beyond their end.
    #[cfg(test)]
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        self.memory.read(offset, bytes);
    }
}

/// Puts back what a dead cell has noted.
pub fn restore(root: &Path, saved: &Saved) -> Result<(), String> {
    let content = saved.content().ok_or("what was noted is damaged")?;
    let memory = map(root, saved.at.into(), content.len(), Access::Write).map_err(|error| error.to_string())?;
    memory.write(0, &content);
    Ok(())
}

fn map(root: &Path, at: u64, len: usize, access: Access) -> io::Result<Mapping> {
    let file = File::options().read(true).write(access == Access::Write).open(root.join("dev/mem"))?;
    Mapping::of_file(&file, at, len, access)
}

fn unmapped(root: &Path, error: io::Error) -> Refused {
    Refused::NoLowMemory { path: root.join("dev/mem").display().to_string(), error }
}

/// The lock of those who start cores on this node.
fn turn(path: &Path) -> Result<File, Refused> {
    let failed = |error| Refused::System { what: "lock the start of cores", error, advice: "see /run/tacet" };
    let file = File::options().create(true).truncate(false).write(true).open(path).map_err(failed)?;
    let start = Instant::now();
    while let Err(error) = file.try_lock() {
        match error {
            std::fs::TryLockError::WouldBlock if start.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(1)),
            std::fs::TryLockError::WouldBlock => return Err(Refused::BootTaken { seconds: PATIENCE.as_secs() }),
            std::fs::TryLockError::Error(error) => return Err(failed(error)),
        }
    }
    Ok(file)
}

/// Pages that others have not put back: none, as a rule, for we have the lock; but a start may have
/// failed.
fn taken(locked: &Locked) -> Result<Vec<Range<u64>>, Error> {
    let saved = |record: Record| record.low;
    let entries = locked.entries()?.into_iter();
    let pages = entries.filter_map(|entry| entry.bare.and_then(saved)).map(|saved| u64::from(saved.at) / PAGE);
    Ok(pages.map(|first| first..first + PAGES).collect())
}

/// Chooses two pages that nobody uses; gives the physical address of the first.
fn choose(root: &Path, taken: &[Range<u64>]) -> Result<u32, Refused> {
    let flags = PageFlags::open(root).map_err(|error| Refused::System {
        what: "open /proc/kpageflags",
        error,
        advice: "this Linux needs CONFIG_PROC_PAGE_MONITOR",
    })?;
    let mut longest = 0..0;
    for range in low_memory::ranges(root)? {
        let pages = range.start.div_ceil(PAGE)..range.end / PAGE;
        let bytes = usize::try_from((pages.end.saturating_sub(pages.start)) * PAGE).unwrap_or(0);
        if bytes == 0 {
            continue;
        }
        let memory = map(root, pages.start * PAGE, bytes, Access::Read).map_err(|error| unmapped(root, error))?;
        let is_unused = |page: u64| {
            let mut content = [0; PAGE as usize];
            memory.read(((page - pages.start) * PAGE) as usize, &mut content);
            content.iter().all(|byte| *byte == 0)
                && flags.is_reserved(page).unwrap_or(false)
                && !taken.iter().any(|taken| taken.contains(&page))
        };
        let run = longest_run(pages.clone(), is_unused);
        if run.end - run.start > longest.end - longest.start {
            longest = run;
        }
    }
    let len = longest.end - longest.start;
    if len < PAGES + 2 * MARGIN {
        return Err(Refused::NoLowPages);
    }
    let first = longest.start + (len - PAGES) / 2;
    u32::try_from(first * PAGE).map_err(|_| Refused::NoLowPages)
}

/// The longest stretch of pages that fulfil a condition.
fn longest_run(pages: Range<u64>, condition: impl Fn(u64) -> bool) -> Range<u64> {
    let (mut longest, mut start) = (0..0, None);
    for page in pages.start..=pages.end {
        if page < pages.end && condition(page) {
            start.get_or_insert(page);
        } else if let Some(start) = start.take()
            && page - start > longest.end - longest.start
        {
            longest = start..page;
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;
    use std::fs;

    /// Low memory with something in each of `used`, and pages from `given_out` on that Linux may
    /// give out.
    fn machine(used: &[u64], given_out: u64) -> Fixture {
        let root = Fixture::new();
        root.file("proc/iomem", "00001000-0009fbff : System RAM\n00100000-00ffffff : System RAM\n");
        let mut memory = vec![0; 1 << 20];
        for page in used {
            memory[(page * PAGE + 100) as usize] = 1;
        }
        fs::write(root.file("dev/mem", ""), memory).expect("own file");
        let flags: Vec<u8> = (0..256).flat_map(|page| (u64::from(page < given_out) << 32).to_ne_bytes()).collect();
        fs::write(root.file("proc/kpageflags", ""), flags).expect("own file");
        root
    }

    fn chosen(used: &[u64], given_out: u64, taken: &[Range<u64>]) -> Option<u32> {
        choose(machine(used, given_out).path(), taken).ok()
    }

    #[test]
    fn the_middle_of_what_nobody_uses() {
        // Pages 1 to 0x9e are whole pages of memory.
        assert_eq!(chosen(&[], 256, &[]), Some(0x4f000));
        assert_eq!(chosen(&[0x10, 0x90], 256, &[]), Some(0x4f000), "0x11 to 0x8f");
        assert_eq!(chosen(&[0x60], 256, &[]), Some(0x2f000), "1 to 0x5f");
        assert_eq!(chosen(&[], 0x20, &[]), Some(0xf000), "1 to 0x1f are Linux's own");
        assert_eq!(chosen(&[], 256, std::slice::from_ref(&(0x50..0x52))), Some(0x27000), "1 to 0x4f");
    }

    #[test]
    fn too_little_room_is_none() {
        let every_eighth: Vec<u64> = (0..256).step_by(8).collect();
        let root = machine(&every_eighth, 256);
        assert!(matches!(choose(root.path(), &[]), Err(Refused::NoLowPages)));
        assert_eq!(chosen(&[], 0, &[]), None, "an older Linux");
    }

    #[test]
    fn without_dev_mem() {
        let root = machine(&[], 256);
        fs::remove_file(root.path().join("dev/mem")).expect("own file");
        let line = choose(root.path(), &[]).expect_err("not there").to_string();
        assert!(line.contains("dev/mem") && line.contains("CAP_SYS_RAWIO"), "{line}");
    }

    #[test]
    fn what_was_there_is_put_back() {
        let root = machine(&[], 256);
        let saved = Saved::new(0x3000, &[5; BYTES]);
        restore(root.path(), &saved).expect("possible");
        let memory = fs::read(root.path().join("dev/mem")).expect("own file");
        assert_eq!(memory[0x2fff..0x3001], [0, 5]);
        assert_eq!(memory[0x4fff..0x5001], [5, 0]);
    }
}
