//! Memory in pages of a size that is asked for, as arrays of numbers.
//!
//! Page sizes and how to ask for them: mmap(2) (`MAP_HUGETLB`), madvise(2) (`MADV_HUGEPAGE`), and
//! Documentation/admin-guide/mm/{hugetlbpage,transhuge}.rst of Linux. Asking is not getting:
//! [`Mapping::large_bytes`] tells what the kernel gave.

use std::fs;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::slice;

use clap::ValueEnum;

const MIB: usize = 1 << 20;

/// What a mapping asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PageKind {
    /// Whatever a program gets that asks for nothing
    Default,
    /// 4 KiB pages (MADV_NOHUGEPAGE)
    #[value(name = "4k")]
    Small,
    /// Transparent large pages (MADV_HUGEPAGE)
    #[value(name = "thp")]
    Transparent,
    /// 2 MiB pages of Linux's pool (MAP_HUGETLB)
    #[value(name = "2m")]
    Pool2M,
    /// 1 GiB pages of Linux's pool (MAP_HUGETLB)
    #[value(name = "1g")]
    Pool1G,
}

impl PageKind {
    /// Name, as options and measures bear it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Small => "4k",
            Self::Transparent => "thp",
            Self::Pool2M => "2m",
            Self::Pool1G => "1g",
        }
    }

    /// Size of the pages of a pool; none where the kernel chooses.
    pub fn pool_page(self) -> Option<usize> {
        match self {
            Self::Default | Self::Small | Self::Transparent => None,
            Self::Pool2M => Some(2 * MIB),
            Self::Pool1G => Some(1024 * MIB),
        }
    }

    fn flags(self) -> libc::c_int {
        match self {
            Self::Default | Self::Small | Self::Transparent => 0,
            Self::Pool2M => libc::MAP_HUGETLB | libc::MAP_HUGE_2MB,
            Self::Pool1G => libc::MAP_HUGETLB | libc::MAP_HUGE_1GB,
        }
    }

    fn advice(self) -> Option<libc::c_int> {
        match self {
            Self::Small => Some(libc::MADV_NOHUGEPAGE),
            Self::Transparent => Some(libc::MADV_HUGEPAGE),
            Self::Default | Self::Pool2M | Self::Pool1G => None,
        }
    }
}

/// A private anonymous mapping, zero at first, unmapped on drop.
pub struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
    mapped: usize,
}

impl Mapping {
    /// Maps at least `bytes`, which is rounded up to whole pages, without touching them. Memory from a pool
    /// is there or refused; advice is advice: a kernel without large pages refuses it and has only small
    /// ones.
    pub fn new(bytes: usize, kind: PageKind) -> io::Result<Self> {
        let page = kind.pool_page().unwrap_or(4096);
        let mapped = bytes.checked_next_multiple_of(page).ok_or(io::ErrorKind::OutOfMemory)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | kind.flags();
        // SAFETY: a fresh mapping at an address of the kernel's choice replaces nothing.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), mapped, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        if let Some(advice) = kind.advice() {
            // SAFETY: the range is the mapping just made; neither advice changes its content.
            unsafe { libc::madvise(address, mapped, advice) };
        }
        let start = NonNull::new(address.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { start, bytes, mapped })
    }

    /// As unsigned words.
    pub fn words(&mut self) -> &mut [u64] {
        // SAFETY: the mapping is page-aligned, readable and writable, at least `bytes` long, lives as long
        // as `self` and is reached through it alone. Every bit pattern is a u64.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.bytes / size_of::<u64>()) }
    }

    /// As doubles.
    pub fn doubles(&mut self) -> &mut [f64] {
        // SAFETY: as in `words`; every bit pattern is an f64.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.bytes / size_of::<f64>()) }
    }

    /// How many of its bytes lie in large pages by now, where the kernel tells.
    pub fn large_bytes(&self) -> Option<usize> {
        let smaps = fs::read_to_string("/proc/self/smaps").ok()?;
        let start = self.start.as_ptr().addr();
        large_bytes(&smaps, start..start + self.mapped)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new`, is owned by `self` and not used afterwards.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.mapped) };
    }
}

/// Bytes in large pages among the mappings that overlap `range`, by the text of `/proc/self/smaps`
/// (proc(5)); none if it shows no such mapping. A cell's memory is shared memory to Linux, hence
/// `ShmemPmdMapped`.
fn large_bytes(smaps: &str, range: Range<usize>) -> Option<usize> {
    const LARGE: [&str; 4] = ["AnonHugePages", "ShmemPmdMapped", "Private_Hugetlb", "Shared_Hugetlb"];
    let (mut inside, mut shown, mut large) = (false, false, 0_usize);
    for line in smaps.lines() {
        if let Some(area) = area_of(line) {
            inside = area.start < range.end && range.start < area.end;
            shown |= inside;
        } else if let (true, Some((key, value))) = (inside, line.split_once(':'))
            && LARGE.contains(&key)
        {
            let kibibytes: usize = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
            large = large.saturating_add(kibibytes.saturating_mul(1024));
        }
    }
    shown.then(|| large.min(range.len()))
}

/// The addresses of a line that begins a mapping.
fn area_of(line: &str) -> Option<Range<usize>> {
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
7f0000000000-7f0000400000 rw-p 00000000 00:00 0
AnonHugePages:      2048 kB
Private_Hugetlb:       0 kB
7f0000400000-7f0000800000 rw-s 00000000 00:01 7 /memfd:x (deleted)
AnonHugePages:         0 kB
ShmemPmdMapped:     4096 kB
";

    #[test]
    fn large_pages_are_those_of_the_mapping() {
        let at = 0x7f00_0000_0000;
        assert_eq!(large_bytes(SMAPS, at..at + 4 * MIB), Some(2 * MIB));
        assert_eq!(large_bytes(SMAPS, at + 4 * MIB..at + 8 * MIB), Some(4 * MIB));
        assert_eq!(large_bytes(SMAPS, at..at + 8 * MIB), Some(6 * MIB));
        assert_eq!(large_bytes(SMAPS, at + 8 * MIB..at + 9 * MIB), None);
        assert_eq!(large_bytes("", 0..1), None);
    }

    #[test]
    fn memory_is_zero_writable_and_as_long_as_asked() {
        let mut memory = Mapping::new(3 * 4096, PageKind::Small).unwrap();
        assert_eq!(memory.words().len(), 3 * 512);
        assert!(memory.words().iter().all(|&word| word == 0));
        memory.doubles().fill(1.0);
        assert_eq!(memory.words()[3 * 512 - 1], 1.0_f64.to_bits());
    }

    #[test]
    fn small_pages_are_small() {
        let mut memory = Mapping::new(8 * MIB, PageKind::Small).unwrap();
        memory.words().fill(1);
        assert_eq!(memory.large_bytes(), Some(0));
    }

    #[test]
    fn impossible_mapping_is_refused() {
        assert!(Mapping::new(usize::MAX / 2, PageKind::Default).is_err());
        assert!(Mapping::new(usize::MAX, PageKind::Pool2M).is_err());
    }
}
