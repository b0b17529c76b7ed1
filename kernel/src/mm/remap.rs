//! mremap(2).
//!
//! Moving memory moves its frames: nothing is copied. Memory keeps its place relative to large
//! pages when it moves. A copy of a file grows beyond the file's end only: `ENOMEM` otherwise.
//! `old_len` 0, which maps shared memory a second time, works for files and segments; anonymous
//! memory has one owner, so there it is refused with `EINVAL`. `MREMAP_DONTUNMAP` leaves private anonymous
//! memory mapped where it was, with nothing in it; of other memory it is refused with `EINVAL`.

use core::ops::Range;

use shm_ipc::layout::{LARGE_PAGE, PAGE};

use super::limits::counts_as_data;
use super::page_up;
use super::regions::{Kind, Vma};
use super::space::AddressSpace;
use crate::abi::{Errno, SysResult, linux};

impl AddressSpace {
    /// mremap(2).
    ///
    /// # Errors
    /// Those of mremap(2).
    pub fn mremap(&mut self, addr: u64, old_len: u64, new_len: u64, flags: u32, new_addr: u64) -> SysResult {
        let may_move = flags & linux::MREMAP_MAYMOVE != 0;
        let fixed = flags & linux::MREMAP_FIXED != 0;
        let stays = flags & linux::MREMAP_DONTUNMAP != 0;
        let known = linux::MREMAP_MAYMOVE | linux::MREMAP_FIXED | linux::MREMAP_DONTUNMAP;
        let is_wrong = (fixed || stays) && !may_move || stays && old_len != new_len;
        if flags & !known != 0 || is_wrong || !addr.is_multiple_of(PAGE) {
            return Err(Errno::EINVAL);
        }
        self.check_mappings()?;
        let old_len = page_up(old_len).ok_or(Errno::EINVAL)?;
        let new_len = page_up(new_len).filter(|len| *len > 0).ok_or(Errno::EINVAL)?;
        if fixed {
            return self.mremap_to(addr, old_len, new_len, new_addr, stays);
        }
        if stays {
            let vma = self.regions.find(addr).ok_or(Errno::EFAULT)?;
            let end = hint(addr, old_len, new_addr).filter(|end| *end <= self.range.end).ok_or(Errno::EINVAL)?;
            let vma = resizable(&vma, addr, old_len).and_then(staying)?;
            self.check_limits(new_len, counts_as_data(vma.prot, vma.kind.is_shared()))?;
            if new_addr >= self.range.start && self.is_free(new_addr..end) {
                return self.relocate(&vma, new_addr, new_len, true);
            }
            return self.relocate_to_gap(&vma, new_len, true);
        }
        let vma = self.regions.find(addr).ok_or(Errno::EFAULT)?;
        if old_len >= new_len {
            if old_len > new_len {
                self.munmap(addr + new_len, old_len - new_len)?;
            }
            return Ok(addr);
        }
        let vma = resizable(&vma, addr, old_len)?;
        self.check_limits(new_len - old_len, counts_as_data(vma.prot, vma.kind.is_shared()))?;
        let at_end = self.regions.find(addr).is_some_and(|whole| whole.end == vma.end) && old_len != 0;
        if at_end && self.grow(&vma, new_len).is_ok() {
            return Ok(addr);
        }
        if !may_move {
            return Err(Errno::ENOMEM);
        }
        self.relocate_to_gap(&vma, new_len, false)
    }

    /// With `MREMAP_FIXED`: replaces what is at `to`.
    fn mremap_to(&mut self, addr: u64, old_len: u64, new_len: u64, to: u64, stays: bool) -> SysResult {
        let end = to.checked_add(new_len).filter(|end| *end <= self.range.end).ok_or(Errno::EINVAL)?;
        let old_end = addr.checked_add(old_len).ok_or(Errno::EINVAL)?;
        if !to.is_multiple_of(PAGE) || old_end > to && end > addr || to < self.range.start {
            return Err(Errno::EINVAL);
        }
        let vma = self.regions.find(addr).ok_or(Errno::EFAULT)?;
        if old_len > new_len {
            let kept = resizable(&vma, addr, new_len)?;
            self.munmap(addr + new_len, old_len - new_len)?;
            self.cut_out(to..end)?;
            self.release(to..end, false);
            return self.relocate(&kept, to, new_len, false);
        }
        let vma = resizable(&vma, addr, old_len)?;
        let vma = if stays { staying(vma)? } else { vma };
        let more = if stays { new_len } else { new_len - old_len };
        self.check_limits(more, counts_as_data(vma.prot, vma.kind.is_shared()))?;
        self.cut_out(to..end)?;
        self.release(to..end, false);
        self.relocate(&vma, to, new_len, stays)
    }

    fn relocate_to_gap(&mut self, vma: &Vma, new_len: u64, stays: bool) -> SysResult {
        let phase = if new_len >= LARGE_PAGE { vma.start % LARGE_PAGE } else { 0 };
        let window = self.range.start..self.top();
        let to = self.gap_within(window, new_len, PAGE, phase).ok_or(Errno::ENOMEM)?;
        self.relocate(vma, to, new_len, stays)
    }

    /// Makes `vma`, which ends a region, longer where it is.
    fn grow(&mut self, vma: &Vma, new_len: u64) -> Result<(), Errno> {
        let end = vma.start.checked_add(new_len).ok_or(Errno::ENOMEM)?;
        if !self.is_free(vma.end..end) {
            return Err(Errno::ENOMEM);
        }
        if vma.kind.has_frames() {
            return self.map_more(vma, vma.end..end, None);
        }
        self.platform.move_foreign(vma.start, vma.end - vma.start, vma.start, new_len)?;
        let kind = vma.kind.advanced(vma.end - vma.start);
        self.regions.insert(Vma { start: vma.end, end, kind, ..*vma });
        Ok(())
    }

    /// Moves `vma`, which may be a part of a region or nothing of it, to `to`, where nothing is. Where it
    /// `stays`, only what is in it moves.
    fn relocate(&mut self, vma: &Vma, to: u64, new_len: u64, stays: bool) -> SysResult {
        let (from, old_len) = (vma.start, vma.end - vma.start);
        if !vma.kind.has_frames() {
            self.platform.move_foreign(from, old_len, to, new_len)?;
            self.regions.remove(vma.range());
            self.regions.insert(Vma { start: to, end: to + new_len, ..*vma });
            return Ok(to);
        }
        if to % LARGE_PAGE == from % LARGE_PAGE {
            self.cut(vma.range())?;
        } else {
            self.cut_all(vma.range())?;
        }
        let kind = match vma.kind {
            Kind::Heap => Kind::Anon { lazy: false },
            Kind::Stack => Kind::Anon { lazy: true },
            kind => kind,
        };
        let moved = Vma { start: to, end: to + old_len, kind, ..*vma };
        if new_len > old_len {
            let follows = self.mapped.find(vma.end - PAGE);
            let near = follows.map(|run| run.frame + (vma.end - run.virt));
            self.map_more(&moved, moved.end..to + new_len, near)?;
        }
        if let Err(errno) = self.move_frames(vma.range(), &moved) {
            self.release(moved.end..to + new_len, false);
            return Err(errno);
        }
        if !stays {
            self.regions.remove(vma.range());
        }
        self.regions.insert(moved);
        Ok(to)
    }

    /// Maps `range`, which follows `vma` and is free, like `vma`.
    fn map_more(&mut self, vma: &Vma, range: Range<u64>, near: Option<u64>) -> Result<(), Errno> {
        let len = range.end - range.start;
        let kind = vma.kind.advanced(range.start - vma.start);
        if let Kind::FileCopy { offset, file_end, .. } = kind
            && offset < file_end
        {
            // What the file has there can't be read any more.
            return Err(Errno::ENOMEM);
        }
        let filled = !kind.is_lazy() && !kind.is_copy();
        if filled && len > self.frames.total() {
            return Err(Errno::ENOMEM);
        }
        if filled && !vma.prot.is_empty() && self.frames.fits(len, range.start) {
            let near = near.or_else(|| self.mapped.frame_beside(&range));
            self.populate(range.clone(), vma.prot, near)?;
        }
        self.regions.insert(Vma { start: range.start, end: range.end, kind, ..*vma });
        Ok(())
    }

    /// Maps the frames of `from` at `to` and no longer where they were.
    fn move_frames(&mut self, from: Range<u64>, to: &Vma) -> Result<(), Errno> {
        let mut runs = self.mapped.remove(from.clone());
        for run in &runs {
            let at = to.start + (run.virt - from.start);
            if let Err(errno) = self.platform.map_frames(at, run.frame, run.len, to.prot) {
                self.platform.unmap(to.start, to.end - to.start);
                runs.iter().for_each(|run| self.mapped.insert(*run));
                return Err(errno);
            }
        }
        if !runs.is_empty() {
            self.platform.unmap(from.start, from.end - from.start);
        }
        for run in &mut runs {
            run.virt = to.start + (run.virt - from.start);
            self.mapped.insert(*run);
        }
        Ok(())
    }
}

/// With `MREMAP_DONTUNMAP` alone, `to` says where the memory would better be: the end of that, if it may be said.
fn hint(addr: u64, len: u64, to: u64) -> Option<u64> {
    let end = to.checked_add(len)?;
    let overlaps = addr.checked_add(len)? > to && end > addr;
    (to.is_multiple_of(PAGE) && !overlaps).then_some(end)
}

/// `vma`, if it may stay where it is while what is in it moves.
fn staying(vma: Vma) -> Result<Vma, Errno> {
    let is_private = matches!(vma.kind, Kind::Anon { .. } | Kind::Growing | Kind::Heap | Kind::Stack);
    if is_private { Ok(vma) } else { Err(Errno::EINVAL) }
}

/// The `old_len` bytes at `addr` of `vma`, if they may be resized.
fn resizable(vma: &Vma, addr: u64, old_len: u64) -> Result<Vma, Errno> {
    let shared = vma.kind.is_shared() && !vma.kind.has_frames();
    if old_len == 0 && !shared {
        return Err(Errno::EINVAL);
    }
    let end = addr.checked_add(old_len).filter(|end| *end <= vma.end).ok_or(Errno::EFAULT)?;
    Ok(Vma { start: addr, end, kind: vma.kind.advanced(addr - vma.start), ..*vma })
}
