//! Cutting large pages of the pool.
//!
//! Frames of Linux's pool of huge pages can be mapped, protected and unmapped by whole large
//! pages only ([`frames`](super::frames)), and a program knows nothing of that. Before a call
//! changes a range, the large pages at its two ends that reach beyond it are replaced by small
//! ones with the same contents. Everything else in this module's neighbours may then treat all
//! frames alike.
//!
//! A page is not written while it is copied: it is made read-only first, and whoever writes to it
//! faults and waits for the lock of the address space. A buffer of a forwarded call can't be kept
//! from being written, as the call has its place in the cell's memory: while there is one in
//! the page, it is not cut, and the program gets the error that Linux gives when it can't split
//! a mapping.

use alloc::vec::Vec;
use core::ops::Range;

use shm_ipc::layout::LARGE_PAGE;
use shm_ipc::region::Region;

use super::frames::Extent;
use super::populate::joined;
use super::space::AddressSpace;
use super::translation::Run;
use crate::abi::Errno;
use crate::platform::Prot;

impl AddressSpace {
    /// Sees to it that no large page of the pool reaches beyond the ends of `range`.
    ///
    /// # Errors
    /// `ENOMEM` when one can't be replaced: there is no other memory for what is in it, or a
    /// forwarded call holds a part of it. Nothing that the program sees has changed then.
    pub(super) fn cut(&mut self, range: Range<u64>) -> Result<(), Errno> {
        self.cut_keeping(range, |_| true)
    }

    /// The same for a range whose frames are given up next: what is in it need not be kept, and
    /// a part of it may be left without frames.
    ///
    /// # Errors
    /// As [`AddressSpace::cut`].
    pub(super) fn cut_out(&mut self, range: Range<u64>) -> Result<(), Errno> {
        // Only the last step may lose anything: after it nothing can fail any more.
        let first = range.start / LARGE_PAGE * LARGE_PAGE;
        if range.end > first + LARGE_PAGE {
            self.cut_keeping(range.start..first + LARGE_PAGE, |_| true)?;
        }
        let gone = range.clone();
        self.cut_keeping(range, move |part| part.start < gone.start || part.end > gone.end)
    }

    /// Replaces the large pages at the ends of `range` by small ones for those of their parts,
    /// cut at the ends of `range`, that are to be kept.
    fn cut_keeping(&mut self, range: Range<u64>, keeps: impl Fn(&Range<u64>) -> bool) -> Result<(), Errno> {
        let mut last = None;
        for end in [range.start, range.end] {
            let page = end / LARGE_PAGE * LARGE_PAGE;
            let is_cut = !end.is_multiple_of(LARGE_PAGE) && last != Some(page);
            let Some(run) = self.mapped.find(end).filter(|run| is_cut && self.frames.is_pooled(run.frame)) else {
                continue;
            };
            last = Some(page);
            let (start, stop) = (range.start.max(page), range.end.min(page + LARGE_PAGE));
            let parts = [page..start, start..stop, stop..page + LARGE_PAGE];
            let kept: Vec<Range<u64>> = parts.into_iter().filter(|part| !part.is_empty() && keeps(part)).collect();
            self.replace_page(page, run.frame + (page - run.virt), &kept)?;
        }
        Ok(())
    }

    /// Replaces all large pages of the pool in `range` by small ones.
    ///
    /// # Errors
    /// As [`AddressSpace::cut`], with some of them replaced.
    pub(super) fn cut_all(&mut self, range: Range<u64>) -> Result<(), Errno> {
        let runs: Vec<Run> = self.mapped.within(range).filter(|run| self.frames.is_pooled(run.frame)).collect();
        for run in runs {
            for page in (run.virt / LARGE_PAGE * LARGE_PAGE..run.end()).step_by(LARGE_PAGE as usize) {
                let frame = run.frame.wrapping_add(page).wrapping_sub(run.virt);
                let whole = page..page + LARGE_PAGE;
                self.replace_page(page, frame, core::slice::from_ref(&whole))?;
            }
        }
        Ok(())
    }

    /// Replaces the large page at `page`, which is `frame` of the pool, by small ones for `kept`.
    fn replace_page(&mut self, page: u64, frame: u64, kept: &[Range<u64>]) -> Result<(), Errno> {
        if self.frames.is_pinned(frame..frame + LARGE_PAGE) {
            return Err(Errno::ENOMEM);
        }
        let runs = self.frames_for_parts(kept)?;
        let prot = self.regions.find(page).map_or(Prot::empty(), |vma| vma.prot);
        let replaced = self.platform.protect(page, LARGE_PAGE, prot - Prot::WRITE).and_then(|()| {
            runs.iter().for_each(|run| copy_frames(&self.window, frame + (run.virt - page), run.frame, run.len));
            self.map_in_place(page, &runs, prot)
        });
        if let Err(errno) = replaced {
            runs.iter().for_each(|run| self.frames.free(run.frame, run.len));
            // Over whatever has been mapped there. Should that fail as well, a touch maps it.
            let _ = self.platform.map_frames(page, frame, LARGE_PAGE, prot);
            return Err(errno);
        }
        self.mapped.remove(page..page + LARGE_PAGE);
        runs.into_iter().for_each(|run| self.mapped.insert(run));
        self.frames.free(frame, LARGE_PAGE);
        Ok(())
    }

    /// Small frames for parts of a large page.
    fn frames_for_parts(&mut self, parts: &[Range<u64>]) -> Result<Vec<Run>, Errno> {
        let mut runs: Vec<Run> = Vec::new();
        for part in parts {
            let Some(extents) = self.frames.allocate_for_pooled(part.end - part.start, part.start) else {
                runs.iter().for_each(|run| self.frames.free(run.frame, run.len));
                return Err(Errno::ENOMEM);
            };
            runs.extend(joined(&extents as &[Extent], part.start));
        }
        Ok(runs)
    }

    /// Maps small frames where a large page is mapped.
    fn map_in_place(&self, page: u64, runs: &[Run], prot: Prot) -> Result<(), Errno> {
        // One that takes all of its place replaces it in one step; others find it gone.
        if !matches!(runs, [run] if run.len == LARGE_PAGE) {
            self.platform.unmap(page, LARGE_PAGE);
        }
        runs.iter().try_for_each(|run| self.platform.map_frames(run.virt, run.frame, run.len, prot))
    }
}

/// Copies frames through the kernel's own view of the cell's memory.
fn copy_frames(window: &Region, from: u64, to: u64, len: u64) {
    let (Some(from), Some(to)) = (window.bytes(from, len), window.bytes(to, len)) else { return };
    // SAFETY: both lie in the region (checked by `bytes`), which is mapped for as long as the
    // kernel runs, and are different frames. No reference to frames is ever formed; nobody
    // writes to `from` (read-only for the program, not pinned) or knows `to`.
    unsafe { to.copy_from_nonoverlapping(from, len as usize) };
}
