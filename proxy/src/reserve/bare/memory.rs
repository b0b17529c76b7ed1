//! The memory of a bare cell: 2 MiB pages of one NUMA node in a file on our hugetlbfs.
//!
//! Nothing may go wrong with it once a core runs on it, so everything is done before: the pages are
//! promised when the file is mapped, all of them are there before the first core stops, and they are
//! pinned before their physical addresses are read.
//!
//! The pages are touched by the cell's own cores, which are still Linux's then, from the end of the
//! file to its start: Linux hands out the pages of a fresh pool from the highest to the lowest, so
//! that the file mostly comes out in the order of physical addresses. What does not is put in order
//! by mapping the file in pieces; contiguous pages can then be mapped as larger ones.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::thread;

use super::mapping::{Access, Mapping};
use super::pagemap::Pagemap;
use super::pins::MemoryPins;
use super::{CHUNK, Refused};
use crate::descriptors::PrivateBand;
use crate::node::cpus::CpuSet;
use crate::sys;

/// Pages that keep their places at the start of the file: the control area, which others read from
/// there, lies within, unless arguments and environment are very long.
const HEAD: usize = 8;
/// Fewest pages that a thread of its own touches.
const PAGES_PER_THREAD: u64 = 16;

/// The file, and what will keep its pages in place.
#[derive(Debug)]
pub struct Store {
    file: OwnedFd,
    pages: u64,
    pins: MemoryPins,
}

/// The memory.
#[derive(Debug)]
pub struct Memory {
    mapping: Mapping,
    chunks: Vec<u64>,
    /// Last: the pages are unpinned when they are not mapped any more.
    _store: Store,
}

impl Store {
    /// Makes the file, with room for so many pages. No page of it is there yet.
    pub fn create(path: &Path, pages: u64, band: &PrivateBand) -> Result<Self, Refused> {
        let failed = |error| Refused::System {
            what: "make the cell's memory",
            error,
            advice: "see `ls /run/tacet/huge` and `tacet reclaim`",
        };
        let file = File::options().read(true).write(true).create_new(true).open(path).map_err(failed)?;
        file.set_len(pages * CHUNK).map_err(failed)?;
        Ok(Store { file: band.adopt(file.into())?, pages, pins: MemoryPins::new(pages, band)? })
    }

    /// Descriptors: whoever has copies of them keeps the memory, and keeps it in place.
    pub fn fds(&self) -> Vec<RawFd> {
        self.pins.fds().chain([self.file.as_raw_fd()]).collect()
    }

    /// Maps the file, which promises all pages to it, and binds it to a NUMA node.
    pub fn map(self, numa: u32) -> Result<Promised, Refused> {
        let no_pages = |error: io::Error| match error.raw_os_error() {
            Some(libc::ENOMEM) => Refused::NoLargePages { numa, asked: self.pages, got: 0 },
            _ => Refused::System { what: "map the cell's memory", error, advice: "see `ulimit -v`" },
        };
        let mapping =
            Mapping::of_file(&self.file, 0, (self.pages * CHUNK) as usize, Access::Write).map_err(no_pages)?;
        match mapping.bind(numa) {
            // A kernel without NUMA support.
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {}
            bound => bound.map_err(|error| Refused::System {
                what: "bind the cell's memory to its NUMA node",
                error,
                advice: "see `cat /proc/self/status` for the nodes that this process may use",
            })?,
        }
        Ok(Promised { store: self, mapping, numa })
    }
}

/// Memory that is promised, but not there yet.
#[derive(Debug)]
pub struct Promised {
    store: Store,
    mapping: Mapping,
    numa: u32,
}

impl Promised {
    /// Makes it be there, for good and in one place. `cores` do the work.
    pub fn fill(self, cores: &CpuSet, pagemap: &Pagemap) -> Result<Memory, Refused> {
        let Promised { store, mapping, numa } = self;
        let failed = |error| Refused::System {
            what: "keep the cell's memory in place",
            error,
            advice: "run tacet as root, with the capabilities CAP_SYS_ADMIN and CAP_IPC_LOCK",
        };
        touch(&mapping, store.pages, cores).map_err(|got| Refused::NoLargePages { numa, asked: store.pages, got })?;
        store.pins.pin(&mapping).map_err(failed)?;
        let base = mapping.base().as_ptr().addr() as u64;
        let physical = |page| pagemap.physical(base + page * CHUNK).and_then(whole);
        let physical: Vec<u64> = (0..store.pages).map(physical).collect::<Result<_, _>>().map_err(failed)?;
        let pieces = in_order(&physical, HEAD);
        if pieces.len() > most_pieces() {
            tracing::info!("the cell's memory lies in {} pieces, too many to sort them", pieces.len());
            return Ok(Memory { mapping, chunks: physical, _store: store });
        }
        let mapping = sorted(mapping, &store.file, &pieces).map_err(failed)?;
        let chunks: Vec<u64> = pieces.iter().flat_map(|piece| &physical[piece.clone()]).copied().collect();
        check(&mapping, &chunks, pagemap).map_err(failed)?;
        Ok(Memory { mapping, chunks, _store: store })
    }
}

impl Memory {
    /// Gives it up. Its addresses stay, with other memory: threads that come back from a long call
    /// may have nothing else to write their answer to.
    pub fn abandon(self) {
        if let Err(error) = self.mapping.abandon() {
            tracing::warn!("the cell's memory is unmapped: {error}");
        }
    }

    /// Where it is mapped.
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// The physical address of each page, in the order of the mapping.
    pub fn chunks(&self) -> &[u64] {
        &self.chunks
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.pins.unpin();
    }
}

/// Touches all pages, the last one first. Gives how many there are when there are not enough.
fn touch(mapping: &Mapping, pages: u64, cores: &CpuSet) -> Result<(), u64> {
    let next = AtomicI64::new(i64::try_from(pages).unwrap_or(0) - 1);
    let (done, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let work = |core: Option<u32>| {
        if let Some(core) = core
            && let Err(error) = sys::run_on([core].into_iter())
        {
            tracing::debug!("memory is not touched by core {core}: {error}");
        }
        while let Ok(page) = usize::try_from(next.fetch_sub(1, Ordering::Relaxed))
            && failed.load(Ordering::Relaxed) == 0
        {
            match mapping.populate(page * CHUNK as usize, CHUNK as usize) {
                Ok(()) => done.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    tracing::debug!("page {page} of the cell's memory: {error}");
                    failed.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
    };
    let threads = pages.div_ceil(PAGES_PER_THREAD) as usize;
    if threads > 1 {
        thread::scope(|scope| {
            for core in cores.iter().take(threads) {
                // Where no thread can be had, fewer do it.
                let _ = thread::Builder::new().name("touch".into()).spawn_scoped(scope, move || work(Some(core)));
            }
        });
    }
    // What no thread has done is left to us.
    work(None);
    if failed.load(Ordering::Relaxed) == 0 { Ok(()) } else { Err(done.load(Ordering::Relaxed)) }
}

fn whole(physical: u64) -> io::Result<u64> {
    match physical.is_multiple_of(CHUNK) {
        true => Ok(physical),
        false => Err(io::Error::other(format!("its page at {physical:#x} is not one of 2 MiB"))),
    }
}

/// Pages of the file in the order of their physical addresses, as ranges of the file. The first
/// `head` pages stay the first.
fn in_order(physical: &[u64], head: usize) -> Vec<std::ops::Range<usize>> {
    let head = head.min(physical.len());
    let mut rest: Vec<usize> = (head..physical.len()).collect();
    rest.sort_unstable_by_key(|page| physical[*page]);
    let mut pieces: Vec<std::ops::Range<usize>> = Vec::new();
    for page in (0..head).chain(rest) {
        match pieces.last_mut() {
            Some(last) if last.end == page => last.end += 1,
            _ => pieces.push(page..page + 1),
        }
    }
    pieces
}

/// Half of the mappings that this process may have.
fn most_pieces() -> usize {
    let limit = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok();
    limit.and_then(|text| text.trim().parse::<usize>().ok()).unwrap_or(65_530) / 2
}

/// Maps pieces of the file one after the other, instead of `before`.
fn sorted(before: Mapping, file: &OwnedFd, pieces: &[std::ops::Range<usize>]) -> io::Result<Mapping> {
    if pieces.len() == 1 {
        return Ok(before);
    }
    let mut mapping = Mapping::reserve(before.len(), CHUNK as usize)?;
    let chunk = CHUNK as usize;
    let mut at = 0;
    for piece in pieces {
        let len = piece.len() * chunk;
        mapping.place(at, file, (piece.start * chunk) as u64, len)?;
        at += len;
    }
    mapping.populate(0, at)?;
    Ok(mapping)
}

/// Makes sure that the pages are where they are thought to be.
fn check(mapping: &Mapping, chunks: &[u64], pagemap: &Pagemap) -> io::Result<()> {
    let base = mapping.base().as_ptr().addr() as u64;
    for (address, chunk) in (base..).step_by(CHUNK as usize).zip(chunks) {
        let physical = pagemap.physical(address)?;
        if physical != *chunk {
            return Err(io::Error::other(format!("a page has moved from {chunk:#x} to {physical:#x}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_in_order() {
        let order = |physical: &[u64], head| -> Vec<(usize, usize)> {
            in_order(physical, head).into_iter().map(|piece| (piece.start, piece.end)).collect()
        };
        assert_eq!(order(&[1, 2, 3, 4], 0), [(0, 4)]);
        assert_eq!(order(&[4, 3, 2], 0), [(2, 3), (1, 2), (0, 1)]);
        assert_eq!(order(&[7, 8, 3, 4, 5, 1], 0), [(5, 6), (2, 5), (0, 2)]);
        assert_eq!(order(&[9, 8, 3, 2], 1), [(0, 1), (3, 4), (2, 3), (1, 2)], "the head stays");
        assert_eq!(order(&[9, 8], 5), [(0, 2)]);
        assert!(order(&[], 5).is_empty());
    }

    #[test]
    fn only_whole_pages() {
        assert_eq!(whole(6 << 20).expect("whole"), 6 << 20);
        assert!(whole((6 << 20) + 4096).is_err());
    }
}
