//! One side's view of the cell's memory.
//!
//! All access to shared memory goes through [`Region`]: an offset and a length are checked
//! against the region once, here, and what comes out is either a reference to a structure made
//! of atomics only, or a raw pointer for the operating system to copy from or to.

use core::ptr::NonNull;

use crate::sync::{AtomicU64, Ordering};

/// Types that may lie in memory which the other side writes at any time.
///
/// # Safety
/// Every field is an atomic or such a type again: any bit pattern is valid and concurrent
/// writes by the peer are not data races.
pub unsafe trait SharedLayout {}

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
    /// `base .. base + len` is mapped readable and writable for as long as the view or anything
    /// got from it is used, `base` is page aligned, and Rust-typed data lives in none of it.
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
        if !(at as usize).is_multiple_of(align_of::<T>()) {
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
        if !offset.is_multiple_of(8) || self.bytes(offset, 8 * out.len() as u64).is_none() {
            return false;
        }
        for (i, word) in out.iter_mut().enumerate() {
            let Some(cell) = self.get::<AtomicU64>(offset + 8 * i as u64) else { return false };
            *word = cell.load(Ordering::Relaxed);
        }
        true
    }

    /// Stores `words` from `offset` on. `false`, with nothing written, when they are not in the
    /// region or `offset` is not a multiple of eight.
    #[must_use]
    pub fn write_words(&self, offset: u64, words: &[u64]) -> bool {
        if !offset.is_multiple_of(8) || self.bytes(offset, 8 * words.len() as u64).is_none() {
            return false;
        }
        for (i, word) in words.iter().enumerate() {
            let Some(cell) = self.get::<AtomicU64>(offset + 8 * i as u64) else { return false };
            cell.store(*word, Ordering::Relaxed);
        }
        true
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
