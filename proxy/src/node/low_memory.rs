//! The first MiB: which pages of it are memory, and which of those Linux keeps to itself.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Unreadable, read};

/// Where the memory of the first MiB ends at the latest: from here on there are devices and
/// firmware.
pub const END: u64 = 0xa_0000;

/// The ranges of memory below [`END`], by physical address. Empty for a user who is not told
/// addresses.
pub fn ranges(root: &Path) -> Result<Vec<Range<u64>>, Unreadable> {
    let text = read(root, "proc/iomem")?;
    // Lines of resources within others begin with blanks.
    let range = |line: &str| {
        let (addresses, name) = line.split_once(" : ")?;
        let (first, last) = addresses.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let (first, last) = (number(first)?, number(last)?);
        (name == "System RAM" && last > first).then_some(first..(last + 1).min(END))
    };
    Ok(text.lines().filter_map(range).filter(|range| range.start < range.end).collect())
}

/// Linux's flags of physical pages.
#[derive(Debug)]
pub struct PageFlags(File);

impl PageFlags {
    /// KPF_RESERVED: include/linux/kernel-page-flags.h.
    const RESERVED: u64 = 1 << 32;

    /// Opens them.
    pub fn open(root: &Path) -> io::Result<Self> {
        File::open(root.join("proc/kpageflags")).map(PageFlags)
    }

    /// Whether Linux never gives this page out, to nobody.
    pub fn is_reserved(&self, page: u64) -> io::Result<bool> {
        let mut word = [0; 8];
        self.0.read_exact_at(&mut word, page * 8)?;
        Ok(u64::from_ne_bytes(word) & Self::RESERVED != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;

    #[test]
    fn ranges_of_memory() {
        let root = Fixture::new();
        let text = "00000000-00000fff : Reserved\n00001000-0009fbff : System RAM\n0009fc00-0009ffff : Reserved\n\
                    00100000-7ffd9fff : System RAM\n  01000000-01e00e70 : Kernel code\n";
        root.file("proc/iomem", text);
        let ranges_there = ranges(root.path()).expect("readable");
        assert_eq!((ranges_there.len(), ranges_there.first()), (1, Some(&(0x1000..0x9_fc00))));
        root.file("proc/iomem", "00000000-00000000 : System RAM\n");
        assert!(ranges(root.path()).expect("readable").is_empty(), "what others than root are told");
    }

    #[test]
    fn flags_of_pages() {
        let root = Fixture::new();
        let words = [0_u64, 1 << 32, 1 << 31, u64::MAX];
        let path = root.file("proc/kpageflags", "");
        std::fs::write(path, words.map(u64::to_ne_bytes).concat()).expect("own file");
        let flags = PageFlags::open(root.path()).expect("there");
        let reserved: Vec<bool> = (0..4).map(|page| flags.is_reserved(page).expect("readable")).collect();
        assert_eq!(reserved, [false, true, false, true]);
        assert!(flags.is_reserved(4).is_err(), "beyond the end");
    }
}
