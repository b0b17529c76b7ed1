//! Limits on what is mapped: `RLIMIT_AS` and `RLIMIT_DATA`, and `RLIMIT_STACK` for what grows.
//!
//! They bound what the program maps, so they can't be left to the cell's process of Linux, whose
//! mappings are the kernel's and the whole of the cell's memory too. Source: `may_expand_vm` in
//! mm/mmap.c. The main stack, which is mapped whole, counts as far as it is filled.

use core::ops::Range;

use super::regions::Kind;
use super::space::AddressSpace;
use crate::abi::{Errno, linux};
use crate::platform::Prot;

/// Bytes that may be mapped.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    all: u64,
    data: u64,
    stack: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { all: u64::MAX, data: u64::MAX, stack: u64::MAX }
    }
}

/// Whether a mapping counts for `RLIMIT_DATA`.
pub(super) fn counts_as_data(prot: Prot, is_shared: bool) -> bool {
    prot.contains(Prot::WRITE) && !is_shared
}

impl AddressSpace {
    /// Sets the limit of this number, if it is one that is kept here.
    pub fn set_limit(&mut self, resource: u32, bytes: u64) {
        match resource {
            linux::RLIMIT_AS => self.limits.all = bytes,
            linux::RLIMIT_DATA => self.limits.data = bytes,
            linux::RLIMIT_STACK => self.limits.stack = bytes,
            _ => {}
        }
    }

    /// Whether `more` bytes may be mapped.
    ///
    /// # Errors
    /// `ENOMEM` when they are too many.
    pub(super) fn check_limits(&self, more: u64, is_data: bool) -> Result<(), Errno> {
        let Limits { all, data, .. } = self.limits;
        if all == u64::MAX && data == u64::MAX {
            return Ok(());
        }
        let sizes = self.sizes();
        let stacks = self.regions.iter().filter(|vma| vma.kind == Kind::Stack);
        let of_stack: u64 = stacks.map(|vma| self.mapped.filled(vma.range(), vma.end - vma.start)).sum();
        let mapped = sizes.mapped - sizes.stack + of_stack;
        let fits = |had: u64, limit: u64| had.checked_add(more).is_some_and(|sum| sum <= limit);
        if fits(mapped, all) && (!is_data || fits(sizes.data, data)) { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// Whether a region that grows may have this many bytes.
    pub(super) fn may_grow_to(&self, bytes: u64) -> bool {
        bytes <= self.limits.stack
    }

    /// Whether `range` may be mapped, in place of what is there.
    ///
    /// # Errors
    /// As [`AddressSpace::check_limits`].
    pub(super) fn check_limits_at(&self, range: Range<u64>, is_data: bool) -> Result<(), Errno> {
        let replaced: u64 = self.regions.within(range.clone()).map(|vma| vma.end - vma.start).sum();
        self.check_limits((range.end - range.start).saturating_sub(replaced), is_data)
    }
}

#[cfg(test)]
mod tests {
    use shm_ipc::layout::PAGE;

    use super::*;
    use crate::mm::tests::platform::USER;
    use crate::mm::tests::{anon, fresh};
    use crate::mm::{Access, Fault};
    use alloc::vec::Vec;

    #[test]
    fn what_is_mapped_is_limited_and_what_is_replaced_is_not_counted() {
        let (mut space, _) = fresh();
        let at = USER.start + (16 << 20);
        space.map_stack(1 << 20).unwrap();
        space.set_heap(USER.start);
        space.set_limit(linux::RLIMIT_AS, 4 * PAGE);
        space.mmap(&anon(at, 3 * PAGE, linux::MAP_FIXED)).unwrap();
        assert_eq!(space.mmap(&anon(0, 2 * PAGE, 0)), Err(Errno::ENOMEM));
        space.mmap(&anon(at, 4 * PAGE, linux::MAP_FIXED)).unwrap();
        assert_eq!(space.brk(USER.start + PAGE), USER.start);
        assert_eq!(space.mremap(at, 4 * PAGE, 5 * PAGE, linux::MREMAP_MAYMOVE, 0), Err(Errno::ENOMEM));
        space.munmap(at, PAGE).unwrap();
        assert_eq!(space.brk(USER.start + PAGE), USER.start + PAGE);
    }

    #[test]
    fn what_grows_keeps_away_from_others_and_to_its_limit() {
        let (mut space, platform) = fresh();
        let top = USER.start + (64 << 20);
        space.mmap(&anon(top, PAGE, linux::MAP_FIXED | linux::MAP_GROWSDOWN)).unwrap();
        space.mmap(&anon(top - 300 * PAGE, PAGE, linux::MAP_FIXED)).unwrap();
        assert_eq!(space.handle_fault(top - 1, Access::Write), Fault::Filled);
        assert_eq!(space.handle_fault(top - 40 * PAGE, Access::Write), Fault::Filled);
        assert!(platform.page(top - 40 * PAGE).is_some());
        let no_region = Fault::Segv { code: linux::SEGV_MAPERR as i32 };
        assert_eq!(space.handle_fault(top - 60 * PAGE, Access::Write), no_region, "too close to the other");
        space.munmap(top - 300 * PAGE, PAGE).unwrap();
        space.set_limit(linux::RLIMIT_STACK, 100 * PAGE);
        assert_eq!(space.handle_fault(top - 100 * PAGE, Access::Write), no_region);
        assert_eq!(space.handle_fault(top - 99 * PAGE, Access::Read), Fault::Filled);
        let all: Vec<_> = space.regions().filter(|vma| vma.kind == Kind::Growing).collect();
        assert!(matches!(all[..], [one] if one.range() == (top - 99 * PAGE..top + PAGE)), "{all:?}");
        let shared = linux::MAP_SHARED | linux::MAP_ANONYMOUS | linux::MAP_GROWSDOWN;
        assert_eq!(space.mmap(&crate::mm::MapRequest { flags: shared, ..anon(0, PAGE, 0) }), Err(Errno::EINVAL));
    }

    #[test]
    fn data_is_what_may_be_written() {
        let (mut space, _) = fresh();
        space.set_limit(linux::RLIMIT_DATA, PAGE);
        assert_eq!(space.mmap(&anon(0, 2 * PAGE, 0)), Err(Errno::ENOMEM));
        let read_only = crate::mm::MapRequest { prot: Prot::READ, ..anon(0, 2 * PAGE, 0) };
        space.mmap(&read_only).unwrap();
        space.mmap(&anon(0, PAGE, 0)).unwrap();
        space.set_limit(linux::RLIMIT_DATA, u64::MAX);
        space.mmap(&anon(0, 2 * PAGE, 0)).unwrap();
    }
}
