//! Frames for regions: at once, or when they are touched.
//!
//! A lazy region is filled in blocks that double with what it already has, from 64 KiB to
//! 2 MiB: a stack of which three pages are used costs little, a large array gets large pages
//! after a few faults. When memory runs short the blocks shrink to single pages again.

use alloc::vec::Vec;
use core::ops::Range;

use shm_ipc::layout::{LARGE_PAGE, PAGE};
use shm_ipc::region::Region;

use super::frames::Extent;
use super::page_up;
use super::regions::Vma;
use super::space::AddressSpace;
use super::translation::Run;
use crate::abi::Errno;
use crate::platform::Prot;

/// Bytes that the first touch of a lazy region fills.
const FIRST_BLOCK: u64 = 64 << 10;

/// A block takes at most this part of the free frames.
const SCARCE: u64 = 64;

impl AddressSpace {
    /// Gives all of `range`, which has no frames, its frames.
    ///
    /// # Errors
    /// `ENOMEM`, with nothing changed, when there are too few or the platform can't map them.
    pub(super) fn populate(&mut self, range: Range<u64>, prot: Prot, near: Option<u64>) -> Result<(), Errno> {
        let extents = self.frames.allocate(range.end - range.start, range.start, near).ok_or(Errno::ENOMEM)?;
        for extent in extents.iter().filter(|extent| !extent.clean) {
            clear_frames(&self.window, extent.frame, extent.len);
        }
        self.map_extents(range.start, &extents, prot)
    }

    /// Maps frames one after the other from `virt` on, where nothing is.
    ///
    /// # Errors
    /// `ENOMEM`, with nothing changed and the frames freed, when the platform can't map them.
    pub(super) fn map_extents(&mut self, virt: u64, extents: &[Extent], prot: Prot) -> Result<(), Errno> {
        let len: u64 = extents.iter().map(|extent| extent.len).sum();
        let mut at = virt;
        for run in joined(extents, virt) {
            if let Err(errno) = self.platform.map_frames(run.virt, run.frame, run.len, prot) {
                self.mapped.remove(virt..at);
                self.platform.unmap(virt, len);
                extents.iter().for_each(|extent| self.frames.free(extent.frame, extent.len));
                return Err(errno);
            }
            self.mapped.insert(run);
            at = run.end();
        }
        Ok(())
    }

    /// Unmaps and frees the frames behind `range`, of which the regions know nothing.
    pub(super) fn drop_frames(&mut self, range: Range<u64>) {
        let runs = self.mapped.remove(range.clone());
        if !runs.is_empty() {
            self.platform.unmap(range.start, range.end - range.start);
        }
        for run in runs {
            self.frames.free(run.frame, run.len);
        }
    }

    /// Gives the page at `addr` its frame, and some of its neighbours theirs. The page has none.
    ///
    /// # Errors
    /// `ENOMEM` when there is none left.
    pub(super) fn fill_at(&mut self, vma: &Vma, addr: u64) -> Result<(), Errno> {
        let filled = self.mapped.filled(vma.range(), LARGE_PAGE);
        let scarce = (self.frames.free_bytes() / SCARCE).next_power_of_two();
        let block = filled.next_power_of_two().clamp(FIRST_BLOCK, LARGE_PAGE).min(scarce).max(PAGE);
        let start = addr / block * block;
        let range = start.max(vma.start)..start.saturating_add(block).min(vma.end);
        let hole = self.mapped.hole_around(addr, range);
        let near = self.mapped.frame_beside(&hole);
        if self.populate(hole.clone(), vma.prot, near).is_ok() || self.fill_large(vma, addr) {
            return Ok(());
        }
        let page = addr / PAGE * PAGE;
        self.populate(page..page + PAGE, vma.prot, None)
    }

    /// Gives all of the large page around `addr` its frames, if nothing else is there: what may
    /// be left is large pages only.
    fn fill_large(&mut self, vma: &Vma, addr: u64) -> bool {
        let start = addr / LARGE_PAGE * LARGE_PAGE;
        let range = start..start.saturating_add(LARGE_PAGE);
        let is_free = range.start >= vma.start && range.end <= vma.end && self.mapped.filled(range.clone(), PAGE) == 0;
        is_free && self.populate(range, vma.prot, None).is_ok()
    }

    /// Gives what the program may touch in `range` its frames. `false` when there were not
    /// enough. Copies of files have all that they will ever have.
    pub(super) fn fill_range(&mut self, range: Range<u64>) -> bool {
        let accessible = |vma: &Vma| vma.kind.has_frames() && !vma.kind.is_copy() && !vma.prot.is_empty();
        let parts: Vec<Vma> = self.regions.within(range).filter(accessible).collect();
        for part in parts {
            for hole in self.mapped.holes(part.range()) {
                let near = self.mapped.frame_beside(&hole);
                if self.populate(hole, part.prot, near).is_err() {
                    return false;
                }
            }
        }
        true
    }

    /// Makes private anonymous memory zero again. What is worth it is given back and filled
    /// when it is touched.
    pub(super) fn forget(&mut self, range: Range<u64>) {
        // Where large pages can't be cut, they are cleared.
        if range.end - range.start >= LARGE_PAGE && self.cut_out(range.clone()).is_ok() {
            self.drop_frames(range);
        } else {
            for run in self.mapped.within(range) {
                clear_frames(&self.window, run.frame, run.len);
            }
        }
    }

    /// Writes bytes behind the program's addresses from `addr` on, whatever the program itself
    /// may do there: for the loader.
    ///
    /// # Errors
    /// `EFAULT` when there are no frames behind all of them.
    pub fn write_frames(&mut self, addr: u64, bytes: &[u8]) -> Result<(), Errno> {
        let end = addr.checked_add(bytes.len() as u64).ok_or(Errno::EFAULT)?;
        let pages = addr / PAGE * PAGE..page_up(end).ok_or(Errno::EFAULT)?;
        if !self.fill_range(pages) || !self.mapped.holes(addr..end).is_empty() {
            return Err(Errno::EFAULT);
        }
        for run in self.mapped.within(addr..end) {
            let from = (run.virt - addr) as usize;
            if !self.window.write(run.frame, &bytes[from..from + run.len as usize]) {
                return Err(Errno::EFAULT);
            }
        }
        Ok(())
    }
}

/// The extents as they lie behind addresses from `virt` on, those that follow each other as one.
pub(super) fn joined(extents: &[Extent], virt: u64) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::with_capacity(extents.len());
    let mut at = virt;
    for extent in extents {
        match runs.last_mut() {
            Some(last) if last.frame_end() == extent.frame => last.len += extent.len,
            _ => runs.push(Run { virt: at, frame: extent.frame, len: extent.len }),
        }
        at += extent.len;
    }
    runs
}

/// Makes frames zero through the kernel's own view of the cell's memory.
pub(super) fn clear_frames(window: &Region, frame: u64, len: u64) {
    let Some(at) = window.bytes(frame, len) else { return };
    // SAFETY: in the region (checked by `bytes`), which is mapped for as long as the kernel
    // runs. No reference to frames is ever formed; the program, which may write there at the
    // same time if the frames are still mapped, can only harm itself.
    unsafe { at.write_bytes(0, len as usize) };
}
