//! madvise(2), mincore(2), msync(2), mlock(2), mbind(2).

use alloc::vec::Vec;
use core::ops::Range;

use shm_ipc::layout::PAGE;

use super::policy::Policy;
use super::populate::clear_frames;
use super::regions::{Kind, Vma};
use super::space::AddressSpace;
use super::{page_up_wrapping, pages_of};
use crate::abi::{Errno, SysResult, linux};
use crate::platform::Prot;

/// What an advice asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Advice {
    /// Nothing that the cell does not do anyway.
    Hint,
    /// Zeroes, or what the file holds, at the next touch.
    DontNeed,
    /// The contents may go. They stay: only private anonymous memory may be told so.
    Free,
    /// Zeroes in the shared object itself.
    Remove,
    /// Memory for a child of fork(2), of which there is none: private anonymous only.
    WipeOnFork,
    /// Frames now, for reading or for writing.
    Populate(Prot),
}

impl Advice {
    fn from_number(number: u32) -> Result<Advice, Errno> {
        Ok(match number {
            linux::MADV_NORMAL..=linux::MADV_WILLNEED
            | linux::MADV_DONTFORK..=linux::MADV_DOFORK
            | linux::MADV_MERGEABLE..=linux::MADV_DODUMP
            | linux::MADV_KEEPONFORK
            | linux::MADV_COLD
            | linux::MADV_PAGEOUT
            | linux::MADV_COLLAPSE => Advice::Hint,
            linux::MADV_DONTNEED | linux::MADV_DONTNEED_LOCKED => Advice::DontNeed,
            linux::MADV_FREE => Advice::Free,
            linux::MADV_REMOVE => Advice::Remove,
            linux::MADV_WIPEONFORK => Advice::WipeOnFork,
            linux::MADV_POPULATE_READ => Advice::Populate(Prot::READ),
            linux::MADV_POPULATE_WRITE => Advice::Populate(Prot::WRITE),
            linux::MADV_HWPOISON | linux::MADV_SOFT_OFFLINE => return Err(Errno::EPERM),
            _ => return Err(Errno::EINVAL),
        })
    }
}

impl AddressSpace {
    /// madvise(2). As on Linux, a hole makes it fail at the end, with all the rest done.
    ///
    /// # Errors
    /// Those of madvise(2).
    pub fn madvise(&mut self, addr: u64, len: u64, number: u32) -> SysResult {
        let advice = Advice::from_number(number)?;
        if !addr.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let range = pages_of(addr, len).ok_or(Errno::EINVAL)?;
        let whole = self.regions.covers(range.clone());
        let parts: Vec<Vma> = self.regions.within(range).collect();
        for part in parts {
            let takes_away = matches!(advice, Advice::DontNeed | Advice::Free) && number != linux::MADV_DONTNEED_LOCKED;
            if part.locked && (takes_away || advice == Advice::Remove) {
                return Err(Errno::EINVAL);
            }
            if part.kind.has_frames() {
                self.advise_frames(&part, advice)?;
            } else if matches!(advice, Advice::Free | Advice::WipeOnFork) {
                return Err(Errno::EINVAL);
            } else {
                self.platform.advise_foreign(part.start, part.end - part.start, number)?;
            }
        }
        if whole { Ok(0) } else { Err(Errno::ENOMEM) }
    }

    fn advise_frames(&mut self, part: &Vma, advice: Advice) -> Result<(), Errno> {
        let shared = part.kind.is_shared();
        match advice {
            Advice::Hint => {}
            // The object behind shared memory keeps what is in it.
            Advice::DontNeed if shared => {}
            Advice::DontNeed if part.kind == Kind::Vdso => {}
            Advice::DontNeed if part.kind.is_copy() => return self.read_anew(part),
            Advice::Remove if part.kind.is_copy() => return Err(Errno::EACCES),
            Advice::Free | Advice::WipeOnFork if part.kind.is_copy() => return Err(Errno::EINVAL),
            Advice::DontNeed => self.forget(part.range()),
            Advice::Free | Advice::WipeOnFork if shared => return Err(Errno::EINVAL),
            Advice::Free | Advice::WipeOnFork => {}
            Advice::Remove if !shared => return Err(Errno::EINVAL),
            Advice::Remove => {
                for run in self.mapped.within(part.range()) {
                    clear_frames(&self.window, run.frame, run.len);
                }
            }
            Advice::Populate(access) => {
                // What may only be written can be read, too, but Linux goes by what was asked for.
                if !part.prot.contains(access) {
                    return Err(Errno::EINVAL);
                }
                if self.ends_within(part) {
                    return Err(Errno::EFAULT);
                }
                if !self.fill_range(part.range()) {
                    return Err(Errno::ENOMEM);
                }
            }
        }
        Ok(())
    }

    /// mincore(2) for the pages from `addr` on, one byte each. Of pages of Linux the platform says it.
    ///
    /// # Errors
    /// `ENOMEM` for a hole.
    pub fn resident(&self, addr: u64, pages: &mut [u8]) -> Result<(), Errno> {
        let range = pages_of(addr, pages.len() as u64 * PAGE).ok_or(Errno::ENOMEM)?;
        if !self.regions.covers(range.clone()) {
            return Err(Errno::ENOMEM);
        }
        pages.fill(1);
        let index = |at: u64| ((at - addr) / PAGE) as usize;
        for vma in self.regions.within(range) {
            if matches!(vma.kind, Kind::File { .. } | Kind::Segment { .. }) {
                self.platform.resident_foreign(vma.start, &mut pages[index(vma.start)..index(vma.end)]);
            } else if vma.kind.has_frames() {
                for hole in self.mapped.holes(vma.range()) {
                    pages[index(hole.start)..index(hole.end)].fill(0);
                }
            }
        }
        Ok(())
    }

    /// What msync(2) has to pass on for a range, and whether all of it is mapped. The caller
    /// passes it on when it no longer holds the address space, as that may take long.
    #[must_use]
    pub fn shared_files(&self, range: Range<u64>) -> (Vec<Range<u64>>, bool) {
        let foreign = self.regions.within(range.clone()).filter(|vma| matches!(vma.kind, Kind::File { .. }));
        (foreign.map(|vma| vma.range()).collect(), self.regions.covers(range))
    }

    /// mlock(2), munlock(2): memory that has frames is resident; what has none yet gets them with `fill`.
    ///
    /// # Errors
    /// `ENOMEM` for a hole, `EAGAIN` when there are not enough frames.
    pub fn lock_range(&mut self, addr: u64, len: u64, lock: bool, fill: bool) -> SysResult {
        let start = addr / PAGE * PAGE;
        let len = page_up_wrapping(len.wrapping_add(addr - start));
        let range = pages_of(start, len).ok_or(Errno::EINVAL)?;
        if !self.regions.covers(range.clone()) {
            return Err(Errno::ENOMEM);
        }
        let inaccessible = self.regions.within(range.clone()).any(|vma| vma.prot.is_empty());
        let ends_within = fill && self.regions.within(range.clone()).any(|vma| self.ends_within(&vma));
        if fill && inaccessible || ends_within {
            return Err(Errno::ENOMEM);
        }
        if fill && !self.fill_range(range.clone()) {
            return Err(Errno::EAGAIN);
        }
        self.regions.update(range, |vma| vma.locked = lock);
        Ok(0)
    }

    /// mbind(2).
    ///
    /// # Errors
    /// `EINVAL` for what is not a range of pages, `EFAULT` for a hole, except for the default policy.
    pub fn bind(&mut self, addr: u64, len: u64, policy: Policy) -> SysResult {
        if !addr.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        let range = pages_of(addr, page_up_wrapping(len)).ok_or(Errno::EINVAL)?;
        // To take policies back, holes do not matter (`queue_pages_range`).
        if policy != Policy::DEFAULT && !self.regions.covers(range.clone()) {
            return Err(Errno::EFAULT);
        }
        self.regions.update(range, |vma| vma.policy = policy);
        Ok(0)
    }

    /// set_mempolicy(2).
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// The policy that set_mempolicy(2) set, or that which holds at `addr`.
    ///
    /// # Errors
    /// `EFAULT` when nothing is mapped at `addr`.
    pub fn policy(&self, addr: Option<u64>) -> Result<Policy, Errno> {
        let Some(addr) = addr else { return Ok(self.policy) };
        let policy = self.regions.find(addr).ok_or(Errno::EFAULT)?.policy;
        Ok(if policy == Policy::DEFAULT { self.policy } else { policy })
    }
}
