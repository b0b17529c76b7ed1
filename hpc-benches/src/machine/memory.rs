//! Memory that the suites measure: mappings whose pages are written when it is wanted, and blocks of the heap.

use std::io;
use std::ops::Range;
use std::ptr::NonNull;

const PAGE: usize = 4096;

/// Page size that a mapping asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// 4 KiB pages (`MADV_NOHUGEPAGE`).
    Small,
    /// The largest that the kernel gives (`MADV_HUGEPAGE`).
    Large,
    /// What the kernel chooses: no advice, one call less.
    Unadvised,
}

/// A private anonymous mapping, unmapped on drop.
pub struct Anonymous {
    start: NonNull<u8>,
    length: usize,
}

impl Anonymous {
    /// Maps `length` bytes and advises on the page size. A kernel that refuses the advice
    /// chooses the pages itself: the advice is not part of what is asked for.
    pub fn map(length: usize, pages: Pages) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh mapping at an address of the kernel's choice replaces nothing.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let advice = match pages {
            Pages::Small => Some(libc::MADV_NOHUGEPAGE),
            Pages::Large => Some(libc::MADV_HUGEPAGE),
            Pages::Unadvised => None,
        };
        if let Some(advice) = advice {
            // SAFETY: the range is the mapping just made; neither advice changes its content.
            unsafe { libc::madvise(address, length, advice) };
        }
        let start = NonNull::new(address.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { start, length })
    }

    /// Writes one byte to every 4 KiB.
    pub fn touch(&mut self) {
        self.touch_pages(0..self.pages());
    }

    /// Writes one byte to every 4 KiB of the first `length` bytes. Calls nothing: a forked child may use it.
    pub fn touch_first(&mut self, length: usize) {
        self.touch_pages(0..length.min(self.length).div_ceil(PAGE));
    }

    /// How many times 4 KiB it is long.
    pub fn pages(&self) -> usize {
        self.length.div_ceil(PAGE)
    }

    /// Writes one byte to each of these times 4 KiB.
    #[inline]
    pub fn touch_pages(&mut self, pages: Range<usize>) {
        assert!(pages.end <= self.pages(), "the mapping has {} pages", self.pages());
        for page in pages {
            // SAFETY: `page` times 4 KiB lies within the mapping, which is writable, lives until drop and is
            // reached through `self` only.
            unsafe { self.start.add(page * PAGE).write_volatile(1) };
        }
    }
}

#[cfg(test)]
impl Anonymous {
    /// What lies at its start.
    pub fn first_byte(&self) -> u8 {
        // SAFETY: the mapping is not empty, is readable and lives until drop.
        unsafe { self.start.read_volatile() }
    }
}

impl Drop for Anonymous {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `map`, is owned by `self` and not used afterwards.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

/// A block of the C library's heap, freed on drop.
pub struct HeapBlock(NonNull<libc::c_void>);

impl HeapBlock {
    /// `malloc(3)`.
    #[inline(always)]
    pub fn allocate(length: usize) -> io::Result<Self> {
        // SAFETY: takes a number; what it returns is ours or nothing.
        let block = unsafe { libc::malloc(length) };
        NonNull::new(block).map(Self).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }
}

impl Drop for HeapBlock {
    fn drop(&mut self) {
        // SAFETY: `allocate` got the block from malloc, and it is not used afterwards.
        unsafe { libc::free(self.0.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touched_memory_is_written_page_by_page() {
        let mut memory = Anonymous::map(4 * PAGE, Pages::Small).unwrap();
        memory.touch();
        // SAFETY: the mapping is 4 pages long and readable.
        let bytes = unsafe { std::slice::from_raw_parts(memory.start.as_ptr(), 4 * PAGE) };
        let written: Vec<usize> = (0..4 * PAGE).filter(|&i| bytes[i] == 1).collect();
        assert_eq!(written, [0, PAGE, 2 * PAGE, 3 * PAGE]);
    }

    #[test]
    fn some_pages_are_written_alone() {
        let mut memory = Anonymous::map(4 * PAGE, Pages::Unadvised).unwrap();
        memory.touch_pages(1..3);
        // SAFETY: the mapping is 4 pages long and readable.
        let bytes = unsafe { std::slice::from_raw_parts(memory.start.as_ptr(), 4 * PAGE) };
        assert_eq!((0..4 * PAGE).filter(|&i| bytes[i] == 1).collect::<Vec<_>>(), [PAGE, 2 * PAGE]);
    }

    #[test]
    #[should_panic(expected = "the mapping has 2 pages")]
    fn pages_beyond_the_mapping_are_not_written() {
        Anonymous::map(2 * PAGE, Pages::Small).unwrap().touch_pages(1..3);
    }

    #[test]
    fn impossible_blocks_are_refused() {
        HeapBlock::allocate(1 << 20).unwrap();
        assert!(HeapBlock::allocate(usize::MAX / 2).is_err());
    }

    #[test]
    fn impossible_mapping_is_refused() {
        assert!(Anonymous::map(usize::MAX / 2, Pages::Large).is_err());
    }
}
