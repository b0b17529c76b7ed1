//! Where in physical memory this process's pages lie: `/proc/self/pagemap`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::descriptors::PrivateBand;
use crate::reserve::bare::Refused;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// The table of this process, open.
#[derive(Debug)]
pub struct Pagemap(File);

impl Pagemap {
    /// Opens it.
    pub fn open(band: &PrivateBand) -> Result<Self, Refused> {
        let file = File::open("/proc/self/pagemap").map_err(|error| Refused::System {
            what: "open /proc/self/pagemap",
            error,
            advice: "this Linux needs CONFIG_PROC_PAGE_MONITOR",
        })?;
        Ok(Pagemap(band.adopt(file.into())?.into()))
    }

    /// The physical address of the page at `address`.
    ///
    /// # Errors
    /// The page is not in memory, or Linux does not tell where, which takes CAP_SYS_ADMIN.
    pub fn physical(&self, address: u64) -> io::Result<u64> {
        let mut word = [0; 8];
        self.0.read_exact_at(&mut word, address / PAGE * 8)?;
        physical(u64::from_ne_bytes(word)).ok_or_else(|| {
            io::Error::other(format!("/proc/self/pagemap does not tell where the page at {address:#x} is"))
        })
    }
}

/// The address in an entry: bit 63 says that the page is there, bits 0 to 54 are its number
/// (Documentation/admin-guide/mm/pagemap.rst).
fn physical(entry: u64) -> Option<u64> {
    let page = entry & ((1 << 55) - 1);
    (entry >> 63 == 1 && page != 0).then_some(page * PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        assert_eq!(physical(1 << 63 | 0x1234), Some(0x123_4000));
        assert_eq!(physical(1 << 63 | 1 << 55 | 5), Some(0x5000), "soft-dirty");
        assert_eq!(physical(0x1234), None, "not there");
        assert_eq!(physical(1 << 63), None, "not told");
        assert_eq!(physical(1 << 62 | 7), None, "swapped");
    }
}
