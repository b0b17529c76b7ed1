//! Memory that mlock(2) and its kin keep where it is. The cell's always is; what is seen of it is kept.

use core::ops::Range;

use super::space::AddressSpace;
use crate::abi::linux;

impl AddressSpace {
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
