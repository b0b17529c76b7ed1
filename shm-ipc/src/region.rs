//! One side's view of the cell's memory.
//!
//! All access to shared memory goes through [`Region`]: an offset and a length are checked
//! against the region once, here, and what comes out is either a reference to a structure made
//! of atomics only, or a raw pointer for the operating system to copy from or to.
//!
//! The copies here are for what is small: blocks, boot information. Payload is copied by whoever
//! serves the call.

use core::ptr::NonNull;

use crate::sync::{AtomicU64, Ordering};

/// Types that may lie in memory which the other side writes at any time.
///
/// # Safety
/// Every field is an atomic or such a type again: any bit pattern is valid and concurrent
/// writes by the peer are not data races.
pub unsafe trait SharedLayout: Sync + 'static {}

// SAFETY: atomics and arrays of them throughout.
unsafe impl<const N: usize> SharedLayout for crate::ring::Ring<N> {}
// SAFETY: one atomic.
unsafe impl SharedLayout for crate::doorbell::Doorbell {}
// SAFETY: one atomic.
unsafe impl SharedLayout for AtomicU64 {}

/// The cell's memory as this side maps it.
#[derive(Debug, Clone, Copy)]
pub struct Region {
    base: NonNull<u8>,
    len: u64,
}

// SAFETY: the region is shared memory by nature; every access is atomic or left to the
// operating system.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// # Safety
    /// 1. `base .. base + len` is mapped readable and writable for as long as the view, a copy of
    ///    it or anything got from it is used (structures come with a `'static` lifetime: that is
    ///    this promise).
    /// 2. `base` is page aligned.
    /// 3. Nothing in it is accessed through this view while this side holds an ordinary Rust
    ///    reference to it. The control area holds nothing but the structures of this crate; in
    ///    the frames, the kernel that hands them out keeps track.
    #[must_use]
    pub unsafe fn new(base: NonNull<u8>, len: u64) -> Self {
        Region { base, len }
    }

    /// Bytes in the region.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the region has no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address of `len` bytes at `offset`, or `None` when they are not all in the region.
    #[must_use]
    pub fn bytes(&self, offset: u64, len: u64) -> Option<*mut u8> {
        let end = offset.checked_add(len)?;
        if end > self.len {
            return None;
        }
        // SAFETY: offset <= self.len, so the result stays within (or one past) the mapping
        // that the caller of `new` vouched for.
        Some(unsafe { self.base.as_ptr().add(offset as usize) })
    }

    /// The shared structure at `offset`, or `None` when it does not fit or is misaligned.
    #[must_use]
    pub fn get<T: SharedLayout>(&self, offset: u64) -> Option<&'static T> {
        let at = self.bytes(offset, size_of::<T>() as u64)?;
        // Under loom the atomics are models of its own, which do not lie in plain memory.
        if cfg!(loom) || !at.addr().is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: in bounds and aligned (checked above), valid for any bytes and under
        // concurrent writes (`SharedLayout`), mapped for as long as it is used (`new`).
        Some(unsafe { &*at.cast::<T>() })
    }

    /// Copies `out.len()` words starting at `offset`. `false` when they are not in the region
    /// or `offset` is not a multiple of eight.
    #[must_use]
    pub fn read_words(&self, offset: u64, out: &mut [u64]) -> bool {
        let Some(cells) = self.words(offset, out.len()) else { return false };
        for (word, cell) in out.iter_mut().zip(cells) {
            *word = cell.load(Ordering::Relaxed);
        }
        true
    }

    /// Stores `words` from `offset` on. `false`, with nothing written, when they are not in the
    /// region or `offset` is not a multiple of eight.
    #[must_use]
    pub fn write_words(&self, offset: u64, words: &[u64]) -> bool {
        let Some(cells) = self.words(offset, words.len()) else { return false };
        for (word, cell) in words.iter().zip(cells) {
            cell.store(*word, Ordering::Relaxed);
        }
        true
    }

    fn words(&self, offset: u64, count: usize) -> Option<&'static [AtomicU64]> {
        let at = self.bytes(offset, (count as u64).checked_mul(8)?)?;
        if cfg!(loom) || !offset.is_multiple_of(8) {
            return None;
        }
        // SAFETY: as in `get`; `base` is page aligned, so `offset` decides the alignment.
        Some(unsafe { core::slice::from_raw_parts(at.cast::<AtomicU64>(), count) })
    }

    /// Copies bytes out of the region. `false` when they are not all in it.
    #[must_use]
    pub fn read(&self, offset: u64, out: &mut [u8]) -> bool {
        let Some(from) = self.bytes(offset, out.len() as u64) else { return false };
        for (i, byte) in out.iter_mut().enumerate() {
            // SAFETY: in bounds (checked above). Volatile, byte by byte: the peer may write at
            // the same time, and any byte value is valid.
            *byte = unsafe { from.add(i).read_volatile() };
        }
        true
    }

    /// Copies bytes into the region. `false`, with nothing written, when they do not fit.
    #[must_use]
    pub fn write(&self, offset: u64, from: &[u8]) -> bool {
        let Some(to) = self.bytes(offset, from.len() as u64) else { return false };
        for (i, byte) in from.iter().enumerate() {
            // SAFETY: in bounds (checked above), see `read`.
            unsafe { to.add(i).write_volatile(*byte) };
        }
        true
    }
}

const _: () = assert!(usize::BITS == 64, "offsets are used as addresses");

#[cfg(all(test, not(loom)))]
pub(crate) mod tests {
    use std::alloc::{Layout, alloc_zeroed};

    use super::*;

    /// A region of `bytes` zeros, which stays for the rest of the test run.
    pub(crate) fn region(bytes: u64) -> Region {
        let layout = Layout::from_size_align(bytes as usize, crate::layout::PAGE as usize).expect("small");
        // SAFETY: the size is not zero.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) }).expect("memory for a test");
        // SAFETY:
        // 1. The memory is never freed.
        // 2. It was asked for page aligned.
        // 3. Nothing else refers to it.
        unsafe { Region::new(base, bytes) }
    }

    const BYTES: u64 = 256;

    #[test]
    fn bytes_are_all_inside_or_refused() {
        let region = region(BYTES);
        assert!(region.bytes(0, BYTES).is_some());
        assert!(region.bytes(BYTES, 0).is_some());
        for (offset, len) in [(0, BYTES + 1), (1, BYTES), (BYTES, 1), (BYTES + 1, 0), (u64::MAX, 1), (1, u64::MAX)] {
            assert!(region.bytes(offset, len).is_none(), "{offset:#x}+{len:#x}");
        }
    }

    #[test]
    fn structures_are_aligned_or_refused() {
        let region = region(BYTES);
        assert!(region.write_words(BYTES - 8, &[BYTES / 8 - 1]));
        assert_eq!(region.get::<AtomicU64>(BYTES - 8).map(|word| word.load(Ordering::Relaxed)), Some(BYTES / 8 - 1));
        assert!(region.get::<AtomicU64>(BYTES - 7).is_none());
        assert!(region.get::<AtomicU64>(4).is_none());
        assert!(region.get::<crate::doorbell::Doorbell>(64).is_some());
        assert!(region.get::<crate::doorbell::Doorbell>(32).is_none());
        assert!(region.get::<crate::doorbell::Doorbell>(BYTES).is_none());
        assert!(region.get::<crate::ring::Ring>(0).is_none(), "larger than the region");
    }

    #[test]
    fn words_are_copied_all_or_not_at_all() {
        let region = region(BYTES);
        let mut out = [0; 3];
        assert!(region.write_words(BYTES - 24, &[7, 8, 9]) && region.read_words(BYTES - 24, &mut out));
        assert_eq!(out, [7, 8, 9]);
        for offset in [BYTES - 16, BYTES - 20, 4, u64::MAX - 7] {
            assert!(!region.write_words(offset, &[1, 2, 3]) && !region.read_words(offset, &mut [0; 3]), "{offset:#x}");
        }
        assert!(region.read_words(BYTES - 24, &mut out));
        assert_eq!(out, [7, 8, 9]);
    }

    #[test]
    fn bytes_are_copied_all_or_not_at_all() {
        let region = region(BYTES);
        let mut out = *b"...";
        assert!(region.write(BYTES - 3, b"abc") && region.read(BYTES - 3, &mut out));
        assert_eq!(&out, b"abc");
        assert!(!region.write(BYTES - 2, b"xyz") && !region.read(BYTES - 2, &mut [0; 3]));
        assert!(region.read(BYTES - 3, &mut out));
        assert_eq!(&out, b"abc");
    }
}
