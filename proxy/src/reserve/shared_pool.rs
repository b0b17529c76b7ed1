//! Pages of Linux's pool of 2 MiB pages for cells that are Linux processes.
//!
//! Where memfds get no transparent large pages, what the pool has free is the only way to large
//! pages. They come as a second file. Linux promises its pages when it is first mapped and keeps
//! the promise for whoever maps the file, until the last that has it is gone: nothing has to be
//! given back, however a cell ends. The pool's size is never changed.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sys::memfd::{MFdFlags, memfd_create};
use shm_ipc::layout::LARGE_PAGE;

use crate::launcher::Rank;
use crate::node::Unreadable;
use crate::node::{huge, huge_limit};
use crate::reserve::memory;
use crate::sys::{self, Binding};

/// Pages of the pool, promised to us.
#[derive(Debug)]
pub struct PoolMemory {
    /// The file that they are in.
    pub file: OwnedFd,
    /// Bytes of it.
    pub bytes: u64,
}

impl PoolMemory {
    /// Takes `bytes`, a multiple of a page, from a NUMA node if one is given. If they must come from
    /// there they are there afterwards, as a promise of Linux is good for any node.
    pub fn take(bytes: u64, binding: Option<(u32, Binding)>) -> io::Result<Self> {
        let flags =
            MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_HUGETLB | MFdFlags::MFD_HUGE_2MB;
        let file = memfd_create(c"tacet-cell-pool", flags)?;
        memory::set_size(&file, bytes)?;
        sys::promise_memory(&file, bytes)?;
        if let Some((numa, how)) = binding {
            sys::bind_memory(&file, bytes, numa, how)?;
            if how == Binding::Strict {
                let length = i64::try_from(bytes).map_err(io::Error::other)?;
                nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, length)?;
            }
        }
        Ok(PoolMemory { file, bytes })
    }
}

/// Bytes of the pool that can be had, on the NUMA node if one is given.
pub fn spare(root: &Path, numa: Option<u32>) -> Result<u64, Unreadable> {
    let Some(free) = huge::free(root, numa)? else { return Ok(0) };
    let bytes = free.saturating_mul(LARGE_PAGE).min(huge_limit::allowance(root)?);
    Ok(bytes / LARGE_PAGE * LARGE_PAGE)
}

/// What of `spare` bytes a rank takes when so many of its job have taken theirs: an equal part of
/// what is left for each that is still to come.
pub fn share(spare: u64, rank: Option<&Rank>, started: usize) -> u64 {
    let ranks = rank.map_or(1, |rank| u64::from(rank.local_size));
    spare / ranks.saturating_sub(started as u64).max(1) / LARGE_PAGE * LARGE_PAGE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_share_what_is_there() {
        let rank = Rank { launcher: "any".to_owned(), global: None, local: 0, local_size: 4 };
        let mut left = 101 * LARGE_PAGE;
        let shares: Vec<u64> = (0..4)
            .map(|started| {
                let share = share(left, Some(&rank), started);
                left -= share;
                share / LARGE_PAGE
            })
            .collect();
        assert_eq!((shares, left), (vec![25, 25, 25, 26], 0));
        assert_eq!(share(7 * LARGE_PAGE + 5, None, 0), 7 * LARGE_PAGE);
        assert_eq!(share(LARGE_PAGE, Some(&rank), 9), LARGE_PAGE, "more than there should be");
    }
}
