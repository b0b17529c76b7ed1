//! The address space as `/proc/<pid>/maps` and its like tell of it.

use alloc::vec::Vec;

use shm_ipc::layout::PAGE;
use shm_ipc::maps::{self, Area};

use super::regions::{Kind, Vma};
use super::space::AddressSpace;
use crate::platform::{Prot, Sharing};

/// Bytes of the address space, by what they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// All that is mapped.
    pub mapped: u64,
    /// What mlock(2) and its like were said of.
    pub locked: u64,
    /// What has frames or shows pages of Linux.
    pub resident: u64,
    /// What of that shows pages of Linux.
    pub of_linux: u64,
    /// Private memory that may be written, but for the stack.
    pub data: u64,
    /// The main thread's stack.
    pub stack: u64,
    /// What may be run and not written.
    pub code: u64,
}

impl AddressSpace {
    /// What the program knows to be there: without what the kernel has put beside it.
    fn programs(&self) -> impl Iterator<Item = &Vma> {
        self.regions.iter().filter(|vma| vma.kind != Kind::Stub)
    }

    /// Its regions, in order.
    #[must_use]
    pub fn areas(&self) -> Vec<Area> {
        let resident = |vma: &Vma| match vma.kind.has_frames() {
            true => self.mapped.filled(vma.range(), vma.end - vma.start),
            false => 0,
        };
        self.programs().map(|vma| area_of(vma, resident(vma))).collect()
    }

    /// Whether the program's next access to `address` reads what is there, without anything being filled
    /// before.
    #[must_use]
    pub fn is_there(&self, address: u64) -> bool {
        let page = address / PAGE * PAGE;
        self.regions.find(address).is_some_and(|vma| {
            let has_frame = || self.mapped.filled(page..page + PAGE, 1) > 0;
            vma.prot.contains(Prot::READ) && (!vma.kind.has_frames() || has_frame())
        })
    }

    /// How large it is.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let mut sizes = Sizes::default();
        for vma in self.programs() {
            let len = vma.end - vma.start;
            sizes.mapped += len;
            sizes.locked += if vma.locked { len } else { 0 };
            if vma.kind.has_frames() {
                sizes.resident += self.mapped.filled(vma.range(), len);
            } else {
                sizes.resident += len;
                sizes.of_linux += len;
            }
            match vma.kind {
                Kind::Stack => sizes.stack += len,
                _ if vma.prot.contains(Prot::WRITE) && !vma.kind.is_shared() => sizes.data += len,
                _ if vma.prot.contains(Prot::EXEC) => sizes.code += len,
                _ => {}
            }
        }
        sizes
    }
}

fn area_of(vma: &Vma, resident: u64) -> Area {
    let (kind, number, offset) = match vma.kind {
        Kind::Anon { .. } | Kind::Growing | Kind::Stub => (maps::ANONYMOUS, 0, 0),
        Kind::SharedAnon { id, .. } => (maps::SHARED_ANONYMOUS, id, 0),
        Kind::Heap => (maps::HEAP, 0, 0),
        Kind::Stack => (maps::STACK, 0, 0),
        Kind::File { sharing: Sharing::Private, offset, .. } => (maps::LINUX_PRIVATE, 0, offset),
        Kind::File { sharing: Sharing::Shared, offset, .. } => (maps::LINUX_SHARED, 0, offset),
        Kind::Segment { offset, .. } => (maps::LINUX_SHARED, 0, offset),
        Kind::Vvar => (maps::VVAR, 0, 0),
        Kind::Vdso => (maps::VDSO, 0, 0),
        Kind::FileCopy { offset, id, .. } => (maps::COPY, id, offset),
    };
    Area { start: vma.start, end: vma.end, offset, number, resident, prot: vma.prot.bits(), kind }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::linux;
    use crate::mm::Access;
    use crate::mm::tests::platform::USER;
    use crate::mm::tests::{anon, file, fresh};

    #[test]
    fn areas_and_sizes() {
        let (mut space, _) = fresh();
        let stack = space.map_stack(1 << 20).unwrap();
        let at = USER.start + (16 << 20);
        space.set_heap(USER.start);
        space.brk(USER.start + PAGE);
        space.mmap(&anon(at, 4 * PAGE, linux::MAP_FIXED)).unwrap();
        let shared = file(at + PAGE, PAGE, linux::MAP_FIXED | linux::MAP_SHARED, 3, 5 * PAGE);
        space.mmap(&shared).unwrap();
        let kinds: Vec<_> = space.areas().iter().map(|area| (area.kind, area.start, area.offset)).collect();
        let expected = [
            (maps::HEAP, USER.start, 0),
            (maps::ANONYMOUS, at, 0),
            (maps::LINUX_SHARED, at + PAGE, 5 * PAGE),
            (maps::ANONYMOUS, at + 2 * PAGE, 0),
            (maps::STACK, stack.start, 0),
        ];
        assert_eq!(kinds, expected);
        let expected = Sizes {
            locked: 0,
            mapped: 5 * PAGE + (1 << 20),
            resident: 5 * PAGE,
            of_linux: PAGE,
            data: 4 * PAGE,
            stack: 1 << 20,
            code: 0,
        };
        assert_eq!(space.sizes(), expected);
    }

    #[test]
    fn what_is_there_can_be_read_at_once() {
        let (mut space, _) = fresh();
        let at = USER.start + (16 << 20);
        space.mmap(&anon(at, 4 * PAGE, linux::MAP_FIXED)).unwrap();
        assert!(space.is_there(at) && space.is_there(at + 4 * PAGE - 1), "so little has its frames at once");
        assert!(!space.is_there(at - 1) && !space.is_there(at + 4 * PAGE));
        let stack = space.map_stack(1 << 20).unwrap();
        assert!(!space.is_there(stack.start));
        space.handle_fault(stack.start, Access::Write);
        assert!(space.is_there(stack.start));
        space.mmap(&file(at + PAGE, PAGE, linux::MAP_FIXED | linux::MAP_SHARED, 3, 0)).unwrap();
        assert!(space.is_there(at + PAGE));
        space.mprotect(at, PAGE, 0).unwrap();
        assert!(!space.is_there(at));
    }
}
