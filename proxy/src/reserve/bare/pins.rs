//! Memory that stays where it is: buffers registered with io_uring.
//!
//! Linux moves pages as it likes: to make large ones, to empty a NUMA node, before memory is taken
//! out. It does not move those that a device may be about to use, and a buffer that is registered
//! with io_uring is pinned as if for a device, for as long as the ring is open: by us or by the
//! keeper.
//!
//! Linux keeps 16 bytes for each page of a buffer. A page of 2 MiB can't move when any part of it is
//! pinned, so of each only the first 4 KiB are registered.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use io_uring::IoUring;

use super::mapping::Mapping;
use super::pagemap::{PAGE, Pagemap};
use super::{CHUNK, Refused};
use crate::descriptors::PrivateBand;

/// Most buffers of a ring: IORING_MAX_REG_BUFFERS, io_uring/rsrc.h.
const MOST: usize = 1 << 14;
/// Most bytes of a buffer: `io_buffer_validate`, io_uring/rsrc.c.
const LONGEST: u64 = 1 << 30;
/// Buffers for pages that are pinned while the cell runs.
const SLOTS: u32 = 4096;

/// A ring whose only purpose is its buffers, with its descriptor in the band.
fn ring(band: &PrivateBand) -> Result<IoUring, Refused> {
    let unusable = |error| Refused::NoRing { error };
    let ring: IoUring = IoUring::builder().dontfork().build(1).map_err(unusable)?;
    // SAFETY: the ring is open for as long as the borrow.
    let copy = unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) }.try_clone_to_owned().map_err(unusable)?;
    let fd = band.adopt(copy)?.into_raw_fd();
    // SAFETY: the descriptor is that of a ring with these parameters, and now belongs to this one.
    unsafe { IoUring::from_fd(fd, ring.params().clone()) }.map_err(unusable)
}

/// Unpins all that is registered with a ring: at once, and not when Linux has the time to.
fn unregister(ring: &IoUring, what: &str) {
    match ring.submitter().unregister_buffers() {
        // There is nothing: the keeper, which has copies of the rings, was first.
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {}
        Err(error) => tracing::warn!("cannot unpin {what}: {error}"),
        Ok(()) => {}
    }
}

fn buffer(at: u64, len: u64) -> libc::iovec {
    libc::iovec { iov_base: std::ptr::without_provenance_mut(at as usize), iov_len: len as usize }
}

/// Pins for the memory of a cell.
pub struct MemoryPins(Vec<IoUring>);

impl std::fmt::Debug for MemoryPins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.fds()).finish()
    }
}

impl MemoryPins {
    /// Rings for so many pages of 2 MiB; nothing is pinned yet.
    pub fn new(pages: u64, band: &PrivateBand) -> Result<Self, Refused> {
        let rings = pages.div_ceil(MOST as u64).max(1);
        (0..rings).map(|_| ring(band)).collect::<Result<_, _>>().map(MemoryPins)
    }

    /// Their descriptors: whoever has copies of them keeps the memory in place.
    pub fn fds(&self) -> impl Iterator<Item = RawFd> {
        self.0.iter().map(AsRawFd::as_raw_fd)
    }

    /// Pins all pages of a mapping of as many as was said, each of 2 MiB.
    pub fn pin(&self, memory: &Mapping) -> io::Result<()> {
        let base = memory.base().as_ptr().addr() as u64;
        let pages: Vec<libc::iovec> =
            (0..memory.len() as u64 / CHUNK).map(|page| buffer(base + page * CHUNK, PAGE)).collect();
        for (ring, pages) in self.0.iter().zip(pages.chunks(MOST)) {
            // SAFETY: nothing is ever read or written through these buffers.
            unsafe { ring.submitter().register_buffers(pages) }?;
        }
        Ok(())
    }

    /// Unpins them.
    pub fn unpin(&self) {
        self.0.iter().for_each(|ring| unregister(ring, "the cell's memory"));
    }
}

/// Pins for pages that come and go.
#[derive(Debug)]
pub struct Pins(Mutex<Slots>);

struct Slots {
    ring: IoUring,
    free: Vec<u32>,
}

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {SLOTS} in use", SLOTS as usize - self.free.len())
    }
}

impl Slots {
    fn set(&self, slot: u32, buffer: libc::iovec) -> io::Result<()> {
        // SAFETY: nothing is ever read or written through these buffers.
        unsafe { self.ring.submitter().register_buffers_update(slot, &[buffer], None) }
    }
}

impl Pins {
    /// A ring of its own.
    pub fn new(band: &PrivateBand) -> Result<Arc<Self>, Refused> {
        let ring = ring(band)?;
        ring.submitter().register_buffers_sparse(SLOTS).map_err(|error| Refused::NoRing { error })?;
        Ok(Arc::new(Pins(Mutex::new(Slots { ring, free: (0..SLOTS).rev().collect() }))))
    }

    /// Its descriptor.
    pub fn fd(&self) -> RawFd {
        self.slots().ring.as_raw_fd()
    }

    /// Pins `at..at + len` of this process's memory.
    ///
    /// # Errors
    /// EOPNOTSUPP for memory that is a file's and not of tmpfs or hugetlbfs, EFAULT for what is not
    /// mapped writable, ENOSPC when too much is pinned one by one.
    pub fn pin(self: &Arc<Self>, at: u64, len: u64, pagemap: &Pagemap) -> io::Result<Pinned> {
        let end = at.checked_add(len).filter(|end| at.is_multiple_of(PAGE) && end.is_multiple_of(PAGE) && len > 0);
        let end = end.ok_or(io::ErrorKind::InvalidInput)?;
        let mut pinned = Pinned { pins: Arc::clone(self), slots: Vec::new(), physical: Vec::new() };
        for start in (at..end).step_by(LONGEST as usize) {
            let slots = &mut *self.slots();
            let slot = *slots.free.last().ok_or_else(|| io::Error::from_raw_os_error(libc::ENOSPC))?;
            slots.set(slot, buffer(start, LONGEST.min(end - start)))?;
            slots.free.pop();
            pinned.slots.push(slot);
        }
        pinned.physical =
            (at..end).step_by(PAGE as usize).map(|page| pagemap.physical(page)).collect::<Result<_, _>>()?;
        Ok(pinned)
    }

    /// Unpins all there is.
    pub fn unpin(&self) {
        let slots = &mut *self.slots();
        slots.free.clear();
        unregister(&slots.ring, "shared memory");
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pages of shared memory that stay where they are while this lives. Linux lets go of them within
/// a second after that.
#[derive(Debug)]
pub struct Pinned {
    pins: Arc<Pins>,
    slots: Vec<u32>,
    physical: Vec<u64>,
}

impl Pinned {
    /// The physical address of each 4 KiB page.
    pub fn physical(&self) -> &[u64] {
        &self.physical
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let slots = &mut *self.pins.slots();
        for slot in self.slots.drain(..) {
            // An empty buffer takes the place. It fails only when all are unpinned already.
            if slots.set(slot, buffer(0, 0)).is_ok() {
                slots.free.push(slot);
            }
        }
    }
}
