//! Page tables of the program's addresses (AMD64 Architecture Programmer's Manual, volume 2,
//! section 5.3: four levels; pages of 4 KiB, 2 MiB and 1 GiB).
//!
//! The tables lie in the cell's memory, in an area of their own. The upper half of the top table
//! is the kernel's, made by the proxy and never changed. The largest page that place, physical
//! address and length allow is used; it is split when a part of it changes.
//!
//! What the program may not touch at all (`PROT_NONE`) keeps its address in an entry that is not
//! present, marked by [`KEPT`].

use alloc::vec::Vec;

use shm_ipc::layout::PAGE;
use shm_ipc::region::Region;
use x86_64::structures::paging::PageTableFlags as Flags;

use super::physical::Physical;
use crate::platform::Prot;

use core::sync::atomic::{AtomicU64, Ordering};

/// Entries of a table.
const ENTRIES: u64 = 512;
/// Level of the top table.
const TOP: u32 = 4;
/// The address bits of an entry.
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
/// A page that nobody may touch at the moment: in an entry that is not present.
const KEPT: Flags = Flags::BIT_9;
/// Tables that are kept for splitting large pages: mapping anew fails before these are used.
const RESERVE: usize = 64;

/// There are no tables left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Bytes that an entry of a table of this level covers.
fn span(level: u32) -> u64 {
    PAGE << (9 * (level - 1))
}

/// Flags of a page of the program.
fn page_flags(prot: Prot) -> Flags {
    if prot.is_empty() {
        return KEPT;
    }
    let mut flags = Flags::PRESENT | Flags::USER_ACCESSIBLE;
    flags.set(Flags::WRITABLE, prot.contains(Prot::WRITE));
    flags.set(Flags::NO_EXECUTE, !prot.contains(Prot::EXEC));
    flags
}

/// What the flags of a page let the program do.
#[must_use]
pub fn prot_of(flags: Flags) -> Prot {
    let mut prot = Prot::empty();
    prot.set(Prot::READ, flags.contains(Flags::PRESENT));
    prot.set(Prot::WRITE, flags.contains(Flags::WRITABLE));
    prot.set(Prot::EXEC, flags.contains(Flags::PRESENT) && !flags.contains(Flags::NO_EXECUTE));
    prot
}

/// An entry's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Empty,
    /// A table, by physical address.
    Table(u64),
    /// A page: physical address and protection flags.
    Page(u64, Flags),
}

impl Entry {
    fn of(word: u64, level: u32) -> Entry {
        let flags = Flags::from_bits_truncate(word);
        let is_page = level == 1 || flags.contains(Flags::HUGE_PAGE);
        match word {
            0 => Entry::Empty,
            _ if !flags.intersects(Flags::PRESENT | KEPT) => Entry::Empty,
            _ if is_page => {
                let kept = flags & (page_flags(Prot::all()) | Flags::NO_EXECUTE | KEPT);
                Entry::Page(word & ADDRESS, kept)
            }
            _ => Entry::Table(word & ADDRESS),
        }
    }

    fn word(self, level: u32) -> u64 {
        match self {
            Entry::Empty => 0,
            // What may be done is said by the pages alone.
            Entry::Table(at) => at | (Flags::PRESENT | Flags::WRITABLE | Flags::USER_ACCESSIBLE).bits(),
            Entry::Page(at, flags) => at | flags.bits() | if level > 1 { Flags::HUGE_PAGE.bits() } else { 0 },
        }
    }
}

/// The tables.
#[derive(Debug)]
pub struct Tables {
    region: Region,
    memory: Physical,
    /// Offset of the top table.
    root: u64,
    /// Tables that are free, by offset.
    free: Vec<u64>,
    /// Tables that were given up since the last flush: a CPU may still walk through them.
    stale: Vec<u64>,
    /// The part of the area that was never used.
    fresh: core::ops::Range<u64>,
}

/// What to do with a range.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// Page at this address of physical memory for the first address of the range.
    Map {
        physical: u64,
        base: u64,
        flags: Flags,
    },
    Clear,
    Protect(Flags),
}

impl Tables {
    /// Tables with the given top one; `area` is free for more.
    #[must_use]
    pub fn new(region: Region, memory: Physical, root: u64, area: core::ops::Range<u64>) -> Self {
        Tables { region, memory, root, free: Vec::new(), stale: Vec::new(), fresh: area }
    }

    /// Tables that are left, apart from the reserve.
    #[must_use]
    pub fn left(&self) -> usize {
        (self.free.len() + ((self.fresh.end - self.fresh.start) / PAGE) as usize).saturating_sub(RESERVE)
    }

    /// Maps `len` bytes of contiguous physical memory, in place of what is there. `true` as for
    /// [`Tables::unmap`].
    ///
    /// # Errors
    /// [`Full`], with a part of it mapped.
    pub fn map(&mut self, at: u64, physical: u64, len: u64, prot: Prot) -> Result<bool, Full> {
        let change = Change::Map { physical, base: at, flags: page_flags(prot) };
        self.change(self.root, TOP, 0, at..at + len, change)
    }

    /// Removes what is mapped. `true` when a CPU may know some of it: [`Tables::flushed`] is due
    /// once none does any more.
    ///
    /// # Errors
    /// [`Full`] when a large page can't be split.
    pub fn unmap(&mut self, at: u64, len: u64) -> Result<bool, Full> {
        self.change(self.root, TOP, 0, at..at + len, Change::Clear)
    }

    /// Changes what the program may do with what is mapped. `true` as for [`Tables::unmap`].
    ///
    /// # Errors
    /// [`Full`] when a large page can't be split.
    pub fn protect(&mut self, at: u64, len: u64, prot: Prot) -> Result<bool, Full> {
        self.change(self.root, TOP, 0, at..at + len, Change::Protect(page_flags(prot)))
    }

    /// No CPU knows what was removed: tables that were given up can be used again.
    pub fn flushed(&mut self) {
        self.free.append(&mut self.stale);
    }

    /// The physical address that `at` is mapped to, and its entry's flags.
    #[must_use]
    pub fn translate(&self, at: u64) -> Option<(u64, Flags)> {
        let mut table = self.root;
        for level in (1..=TOP).rev() {
            let index = at / span(level) % ENTRIES;
            match self.load(table, index, level) {
                Entry::Empty => return None,
                Entry::Page(physical, flags) => return Some((physical + at % span(level), flags)),
                Entry::Table(next) => table = self.memory.offset(next)?,
            }
        }
        None
    }

    fn word(&self, table: u64, index: u64) -> &'static AtomicU64 {
        self.region.get(table + 8 * index).expect("tables lie in the cell's memory")
    }

    fn load(&self, table: u64, index: u64, level: u32) -> Entry {
        Entry::of(self.word(table, index).load(Ordering::Relaxed), level)
    }

    fn store(&self, table: u64, index: u64, level: u32, entry: Entry) {
        // Release: a CPU that sees the entry sees the table behind it.
        self.word(table, index).store(entry.word(level), Ordering::Release);
    }

    fn offset_of(&self, physical: u64) -> u64 {
        self.memory.offset(physical).expect("tables lie in the cell's memory")
    }

    /// A table without entries, by offset.
    fn take(&mut self, reserve: usize) -> Result<u64, Full> {
        if self.free.is_empty() && self.fresh.is_empty() || reserve > 0 && self.left() == 0 {
            return Err(Full);
        }
        let table = self.free.pop().unwrap_or_else(|| {
            let table = self.fresh.start;
            self.fresh.start += PAGE;
            table
        });
        for index in 0..ENTRIES {
            self.word(table, index).store(0, Ordering::Relaxed);
        }
        Ok(table)
    }

    fn physical_of(&self, table: u64) -> u64 {
        self.memory.of(table).expect("tables lie in the cell's memory").0
    }

    /// Applies `change` to the part of `range` that the table at `base` covers.
    fn change(
        &mut self,
        table: u64,
        level: u32,
        base: u64,
        range: core::ops::Range<u64>,
        change: Change,
    ) -> Result<bool, Full> {
        let span = span(level);
        let mut known = false;
        let mut at = range.start.max(base);
        let end = range.end.min(base.saturating_add(span * ENTRIES));
        while at < end {
            let start = at / span * span;
            let stop = end.min(start + span);
            let index = at / span % ENTRIES;
            let whole = at == start && stop == start + span;
            known |= self.change_entry(table, level, index, at..stop, whole, change)?;
            at = stop;
        }
        Ok(known)
    }

    fn change_entry(
        &mut self,
        table: u64,
        level: u32,
        index: u64,
        part: core::ops::Range<u64>,
        whole: bool,
        change: Change,
    ) -> Result<bool, Full> {
        let entry = self.load(table, index, level);
        if whole && let Some(known) = self.change_whole(table, level, index, &part, entry, change) {
            return Ok(known);
        }
        let below = match entry {
            Entry::Table(physical) => self.offset_of(physical),
            Entry::Empty => {
                let Change::Map { .. } = change else { return Ok(false) };
                let below = self.take(RESERVE)?;
                self.store(table, index, level, Entry::Table(self.physical_of(below)));
                below
            }
            Entry::Page(physical, flags) => self.split(table, level, index, physical, flags)?,
        };
        let base = part.start / span(level) * span(level);
        let known = self.change(below, level - 1, base, part, change)?;
        if matches!(change, Change::Clear) && self.is_empty(below) {
            self.store(table, index, level, Entry::Empty);
            self.stale.push(below);
        }
        Ok(known)
    }

    /// Changes an entry that is covered as a whole, if that needs no table below it.
    fn change_whole(
        &mut self,
        table: u64,
        level: u32,
        index: u64,
        part: &core::ops::Range<u64>,
        entry: Entry,
        change: Change,
    ) -> Option<bool> {
        match (change, entry) {
            (Change::Map { physical, base, flags }, Entry::Empty | Entry::Page(..)) => {
                let page = physical + (part.start - base);
                if level > largest() || !page.is_multiple_of(span(level)) {
                    return None;
                }
                self.store(table, index, level, Entry::Page(page, flags));
                Some(entry != Entry::Empty)
            }
            (Change::Clear | Change::Protect(_), Entry::Empty) => Some(false),
            (Change::Clear, Entry::Page(_, flags)) => {
                self.store(table, index, level, Entry::Empty);
                Some(flags.contains(Flags::PRESENT))
            }
            (Change::Protect(flags), Entry::Page(physical, old)) => {
                self.store(table, index, level, Entry::Page(physical, flags));
                Some(old.contains(Flags::PRESENT) && old != flags)
            }
            _ => None,
        }
    }

    /// Puts a table of smaller pages in the place of a page.
    fn split(&mut self, table: u64, level: u32, index: u64, physical: u64, flags: Flags) -> Result<u64, Full> {
        let below = self.take(0)?;
        for part in 0..ENTRIES {
            let page = Entry::Page(physical + part * span(level - 1), flags);
            self.store(below, part, level - 1, page);
        }
        self.store(table, index, level, Entry::Table(self.physical_of(below)));
        Ok(below)
    }

    fn is_empty(&self, table: u64) -> bool {
        (0..ENTRIES).all(|index| self.word(table, index).load(Ordering::Relaxed) == 0)
    }
}

/// Level of the largest pages that the CPU has: 1 GiB where CPUID says so, else 2 MiB.
fn largest() -> u32 {
    static LEVEL: spin::Once<u32> = spin::Once::new();
    *LEVEL.call_once(|| {
        let info = raw_cpuid::CpuId::new().get_extended_processor_and_feature_identifiers();
        if info.is_some_and(|info| info.has_1gib_pages()) { 3 } else { 2 }
    })
}

#[cfg(test)]
mod tests;
