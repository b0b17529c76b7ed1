//! How much memory a bare cell gets.
//!
//! Its pages are really taken, so without `--memory` it is not all there is, but three quarters of
//! what falls to its cores: of the NUMA node's memory by the number of the node's cores, and no more
//! than of what is free now by the number of those that no other bare cell has. Ranks that each have
//! the same number of cores thus get the same, in whatever order they come, and Linux keeps a
//! quarter and the share of its own cores.

use shm_ipc::layout::LARGE_PAGE;

use crate::cli::Size;
use crate::node::memory::Memory;
use crate::reserve::{Error, memory};

/// Cores of a NUMA node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cores {
    /// Those that the cell takes.
    pub taken: u64,
    /// Those that no other bare cell has.
    pub left: u64,
    /// All.
    pub all: u64,
}

/// Decides how many bytes a cell gets of its NUMA node, in whole large pages. `whole` is what the
/// percentages of `--memory` refer to.
pub fn amount(asked: Option<Size>, of_node: Memory, whole: u64, cores: Cores) -> Result<u64, Error> {
    let share = |bytes: u64, of: u64| bytes / 4 * 3 / of.max(1) * cores.taken.min(of).max(1);
    let bytes = match asked {
        Some(Size::Bytes(bytes)) => bytes,
        Some(Size::Percent(percent)) => whole / 100 * u64::from(percent),
        None => share(of_node.total, cores.all).min(share(of_node.available, cores.left)),
    };
    if bytes > of_node.available {
        return Err(Error::TooMuchMemory { asked: bytes, available: of_node.available });
    }
    if bytes < memory::LEAST {
        return Err(Error::TooLittleMemory { bytes });
    }
    Ok(bytes / LARGE_PAGE * LARGE_PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn default(available: u64, taken: u64, left: u64) -> u64 {
        amount(None, Memory { total: 64 * GIB, available }, 0, Cores { taken, left, all: 16 }).expect("enough")
    }

    #[test]
    fn ranks_get_the_same() {
        let mut available = 62 * GIB;
        let mut got = Vec::new();
        for rank in 0..5 {
            let bytes = default(available, 3, 16 - 3 * rank);
            got.push(bytes);
            available -= bytes;
        }
        assert_eq!(got[1..], [got[0].max(9 * GIB); 4][..], "{got:?}");
        assert!(available > 16 * GIB);
    }

    #[test]
    fn no_more_than_there_is() {
        assert_eq!(default(16 * GIB, 4, 8), 6 * GIB);
        assert_eq!(default(64 * GIB, 15, 16), 45 * GIB);
        let of_node = Memory { total: 4 * GIB, available: GIB };
        let cores = Cores { taken: 1, left: 1, all: 2 };
        let asked = |size| amount(Some(size), of_node, 8 * GIB, cores);
        assert_eq!(asked(Size::Bytes(GIB)).expect("all of it"), GIB);
        assert_eq!(asked(Size::Percent(10)).expect("there"), 8 * GIB / 100 * 10 / LARGE_PAGE * LARGE_PAGE);
        assert!(matches!(asked(Size::Bytes(GIB + 1)), Err(Error::TooMuchMemory { .. })));
        assert!(matches!(asked(Size::Bytes(1)), Err(Error::TooLittleMemory { .. })));
    }
}
