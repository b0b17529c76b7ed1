//! Code of the program, and code of the kernel's own beside it.

use core::ops::Range;

use shm_ipc::layout::PAGE;

use super::regions::Kind;
use super::space::AddressSpace;
use crate::abi::Errno;
use crate::platform::{Prot, Sharing};

impl AddressSpace {
    /// Whether all of `range` is code of one private mapping of a file, which the program may not write.
    #[must_use]
    pub fn is_file_code(&self, range: Range<u64>) -> bool {
        self.regions.find(range.start).is_some_and(|vma| {
            range.end <= vma.end
                && vma.prot == Prot::READ | Prot::EXEC
                && matches!(vma.kind, Kind::File { sharing: Sharing::Private, .. })
        })
    }

    /// Whether the program may write to all of `range`, of one mapping.
    #[must_use]
    pub fn is_writable(&self, range: Range<u64>) -> bool {
        self.regions.find(range.start).is_some_and(|vma| range.end <= vma.end && vma.prot.contains(Prot::WRITE))
    }

    /// Maps a page of code in `window`, below `near` if possible, where no heap grows. Its content comes by
    /// [`AddressSpace::write_frames`].
    ///
    /// # Errors
    /// `ENOMEM` when there is no room or no frame.
    pub fn map_code(&mut self, near: u64, window: Range<u64>) -> Result<u64, Errno> {
        let low = window.start.max(self.range.start);
        let high = window.end.min(self.guard.start).max(low);
        let near = near.clamp(low, high);
        let found = self.regions.gap(low..near, PAGE, PAGE, 0).or_else(|| self.regions.gap(near..high, PAGE, PAGE, 0));
        let at = found.filter(|at| self.is_free(*at..at + PAGE)).ok_or(Errno::ENOMEM)?;
        self.map_anon(at, PAGE, Prot::READ | Prot::EXEC, Kind::Stub)?;
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::mm::tests::platform::USER;
    use crate::mm::tests::{check_books, file, fresh};

    #[test]
    fn code_comes_close_below() {
        let (mut space, platform) = fresh();
        let at = USER.start + (64 << 20);
        space.map_anon(at, PAGE, Prot::READ, Kind::Anon { lazy: false }).unwrap();
        let around = at - (16 << 20)..at + (16 << 20);
        let first = space.map_code(at, around.clone()).unwrap();
        assert_eq!(first, at - PAGE);
        assert_eq!(space.map_code(at, around), Ok(at - 2 * PAGE));
        let window = at + 4 * PAGE..at + 6 * PAGE;
        let mut got = [space.map_code(at, window.clone()).unwrap(), space.map_code(at, window.clone()).unwrap()];
        got.sort_unstable();
        assert_eq!(got, [at + 4 * PAGE, at + 5 * PAGE]);
        assert_eq!(space.map_code(at, window), Err(Errno::ENOMEM));
        space.write_frames(first, &[0xc3]).unwrap();
        assert_eq!(space.areas().iter().map(|area| area.start).collect::<Vec<_>>(), [at], "only the program's own");
        assert_eq!(space.sizes().mapped, PAGE);
        check_books(&space, platform);
    }

    #[test]
    fn what_counts_as_code_of_a_file() {
        let (mut space, _) = fresh();
        let at = USER.start + (64 << 20);
        let request = file(at, 2 * PAGE, crate::abi::linux::MAP_PRIVATE | crate::abi::linux::MAP_FIXED, 3, 0);
        space.mmap(&request).unwrap();
        assert!(!space.is_file_code(at..at + 7));
        space.mprotect(at, PAGE, 5).unwrap();
        assert!(space.is_file_code(at..at + 7));
        assert!(!space.is_file_code(at + PAGE - 3..at + PAGE + 4));
        assert!(!space.is_writable(at..at + 7));
        space.mprotect(at, PAGE, 7).unwrap();
        assert!(!space.is_file_code(at..at + 7) && space.is_writable(at..at + 7));
    }
}
