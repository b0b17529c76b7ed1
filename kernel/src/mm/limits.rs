//! What limits of resources allow: RLIMIT_AS and RLIMIT_DATA (getrlimit(2), `may_expand_vm` in
//! mm/mmap.c), and what mlockall(2) wants of mappings to come.

use core::ops::Range;

use super::regions::{Kind, Vma};
use super::space::AddressSpace;
use crate::abi::{Errno, linux};
use crate::platform::Prot;

/// Soft limits in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of all that is mapped.
    pub all: u64,
    /// Of memory of one's own that can be written, except the stack.
    pub data: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { all: u64::MAX, data: u64::MAX }
    }
}

fn is_data(vma: &Vma) -> bool {
    vma.prot.contains(Prot::WRITE) && !vma.kind.is_shared() && vma.kind != Kind::Stack
}

impl AddressSpace {
    /// RLIMIT_AS.
    pub fn limit_all(&mut self, bytes: u64) {
        self.limits.all = bytes;
    }

    /// RLIMIT_DATA.
    pub fn limit_data(&mut self, bytes: u64) {
        self.limits.data = bytes;
    }

    /// Whether the limits allow a mapping of `range`, of `data` or not, in place of what is there.
    ///
    /// # Errors
    /// `ENOMEM` when they do not.
    pub(super) fn check_limits(&self, range: Range<u64>, data: bool) -> Result<(), Errno> {
        let Limits { all, data: most } = self.limits;
        if (all, most) == (u64::MAX, u64::MAX) {
            return Ok(());
        }
        let len = |vma: &Vma| vma.end - vma.start;
        let new = range.end - range.start;
        let replaced: u64 = self.regions.within(range.clone()).map(|vma| len(&vma)).sum();
        let mapped: u64 = self.regions.iter().map(len).sum();
        let of_data: u64 = self.regions.iter().filter(|vma| is_data(vma)).map(len).sum();
        let replaced_data: u64 = self.regions.within(range).filter(is_data).map(|vma| len(&vma)).sum();
        let is_too_much = mapped - replaced + new > all || data && of_data - replaced_data + new > most;
        if is_too_much { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// mlockall(2): all that is mapped now, all that will be, or nothing.
    pub fn lock_all(&mut self, now: bool, later: bool) {
        self.locks_new = later;
        if now {
            self.regions.update(self.range.clone(), |vma| vma.locked = true);
        }
    }

    /// munlockall(2).
    pub fn unlock_all(&mut self) {
        self.locks_new = false;
        self.regions.update(self.range.clone(), |vma| vma.locked = false);
    }

    /// A mapping that has just been made is locked if its flags say so or mlockall(2) has.
    pub(super) fn lock_new(&mut self, range: Range<u64>, flags: u32) {
        if flags & linux::MAP_LOCKED == 0 && !self.locks_new {
            return;
        }
        let is_accessible = self.regions.find(range.start).is_some_and(|vma| !vma.prot.is_empty());
        if is_accessible && self.locks_new {
            self.fill_range(range.clone());
        }
        self.regions.update(range, |vma| vma.locked = true);
    }

    /// Whether some of `range` is locked.
    #[must_use]
    pub fn is_locked(&self, range: Range<u64>) -> bool {
        self.regions.within(range).any(|vma| vma.locked)
    }
}
