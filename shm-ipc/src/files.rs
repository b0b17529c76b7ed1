//! Which of the program's descriptors its own cores may read and write: a bitmap that the proxy keeps
//! where the cell shares its descriptors (`process`). A file that is in it never makes a reader or
//! writer wait for another process, and does not care which process it is.
//!
//! The proxy takes a descriptor out before it closes it. A core that still uses what it has just read
//! here reads or writes whatever has that number by then, as a thread of a Linux process would that is
//! about to make its call while another closes the file.

use crate::layout::{Layout, PAGE};
use crate::region::{Region, SharedLayout};
use crate::sync::{AtomicU64, Ordering};

/// Descriptors below this number have a place; calls on others go to the proxy.
pub const PLACES: usize = 4096;

/// The bitmap.
#[repr(C)]
#[derive(Debug)]
pub struct Files {
    words: [AtomicU64; PLACES / 64],
}

// SAFETY: an array of atomics.
unsafe impl SharedLayout for Files {}

const _: () = assert!(size_of::<Files>() as u64 <= PAGE);

impl Files {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Files { words: core::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// The bitmap of `region`.
    #[must_use]
    pub fn of(region: &Region) -> Option<&'static Files> {
        region.get(Layout::FILES)
    }

    fn place(&self, fd: i32) -> Option<(&AtomicU64, u64)> {
        let fd = usize::try_from(fd).ok()?;
        Some((self.words.get(fd / 64)?, 1 << (fd % 64)))
    }

    /// Proxy: the cell's cores may read and write `fd`.
    pub fn put_in(&self, fd: i32) {
        if let Some((word, bit)) = self.place(fd) {
            word.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// Proxy: from now on they don't.
    pub fn take_out(&self, fd: i32) {
        if let Some((word, bit)) = self.place(fd) {
            word.fetch_and(!bit, Ordering::SeqCst);
        }
    }

    /// Kernel: whether they may.
    #[must_use]
    pub fn has(&self, fd: i32) -> bool {
        self.place(fd).is_some_and(|(word, bit)| word.load(Ordering::SeqCst) & bit != 0)
    }
}

impl Default for Files {
    fn default() -> Self {
        Files::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn each_descriptor_has_a_bit_of_its_own() {
        let files = Files::new();
        for fd in [0, 63, 64, 4095] {
            files.put_in(fd);
        }
        files.take_out(63);
        let there: Vec<i32> = (0..4096).filter(|fd| files.has(*fd)).collect();
        assert_eq!(there, [0, 64, 4095]);
    }

    #[test]
    fn numbers_without_a_place_are_never_in() {
        let files = Files::new();
        for fd in [-1, i32::MIN, 4096, i32::MAX] {
            files.put_in(fd);
            files.take_out(fd);
            assert!(!files.has(fd));
        }
    }
}
