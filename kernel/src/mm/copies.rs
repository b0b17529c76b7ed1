//! Private mappings of files on platforms that can't map the files themselves.
//!
//! What the file holds is read into frames when it is mapped: a snapshot, which Linux leaves
//! open as well ("it is unspecified whether changes made to the file after the mmap() call are
//! visible", mmap(2)). Pages wholly beyond the file's end have no frame, and touching them is
//! SIGBUS. The platform keeps the file for as long as anything is left of the mapping, so that
//! `MADV_DONTNEED` can show it anew: see `docs/decisions/0005-private-files-on-bare-cores.md`.
//!
//! The file is read in blocks, each of which takes its place before the next is read: a mapping
//! over an earlier one of the same file, which is how dynamic linkers load libraries, needs room
//! for one block beside it and not for all of it twice.

use alloc::vec::Vec;
use core::ops::Range;

use shm_ipc::layout::{LARGE_PAGE, PAGE};

use super::frames::Extent;
use super::policy::Policy;
use super::populate::clear_frames;
use super::regions::{Kind, Vma};
use super::space::AddressSpace;
use super::translation::Run;
use crate::abi::{Errno, SysResult};
use crate::platform::Prot;

/// Where a copy is read from.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// A descriptor of the program.
    Open(i32),
    /// What the platform keeps for the mapping with this number.
    Kept(u64),
}

/// `file_end` of a file whose end the mapping has not come to.
const NOT_SEEN: u64 = u64::MAX;

impl AddressSpace {
    /// Maps a copy of `len` bytes of a file at `at`, in place of whatever is there. That stays
    /// if the file can't be read, or not for want of memory.
    ///
    /// # Errors
    /// Those of [`Platform::read_file`](crate::platform::Platform::read_file) and
    /// [`Platform::keep_file`](crate::platform::Platform::keep_file), `ENOMEM`, `EOVERFLOW`.
    pub(super) fn map_copy(&mut self, at: u64, len: u64, prot: Prot, fd: i32, offset: u64) -> Result<(), Errno> {
        offset.checked_add(len).ok_or(Errno::EOVERFLOW)?;
        self.check_room(at..at + len, fd, offset)?;
        let id = self.fresh_id();
        self.platform.keep_file(id, fd, offset, len)?;
        let file_end = self.read_copy(at..at + len, prot, fd, offset).inspect_err(|_| self.platform.drop_file(id))?;
        let written = prot.contains(Prot::WRITE);
        let kind = Kind::FileCopy { offset, file_end, written, id };
        self.regions.insert(Vma { start: at, end: at + len, prot, kind, policy: Policy::DEFAULT, locked: false });
        Ok(())
    }

    /// Reads and maps it, block by block. Gives where the file ends, if it was seen.
    fn read_copy(&mut self, range: Range<u64>, prot: Prot, fd: i32, offset: u64) -> SysResult {
        let (at, len) = (range.start, range.end - range.start);
        let mut file_end = NOT_SEEN;
        let mut done = 0;
        while done < len && file_end == NOT_SEEN {
            let virt = at + done;
            let block = (LARGE_PAGE - virt % LARGE_PAGE).min(len - done);
            // What the mapping replaces is still taken when its first block is read.
            let block = block.min(self.frames.free_bytes());
            let copied = self.copy_block(virt, block, Source::Open(fd), offset + done).and_then(|(extents, bytes)| {
                if done == 0 {
                    self.release(range.clone(), false);
                }
                self.map_extents(virt, &extents, prot).map(|()| bytes)
            });
            match copied {
                Ok(bytes) if bytes < block => file_end = offset + done + bytes,
                Ok(_) => done += block,
                Err(errno) => {
                    if done > 0 {
                        self.drop_frames(range);
                    }
                    return Err(errno);
                }
            }
        }
        Ok(file_end)
    }

    /// Whether there may be room for what the file has for `range`, asked before all of a file
    /// that is too large is read for nothing.
    fn check_room(&mut self, range: Range<u64>, fd: i32, offset: u64) -> Result<(), Errno> {
        let len = range.end - range.start;
        let room = self.frames.free_bytes() + self.mapped.filled(range.clone(), len);
        if len <= room {
            return Ok(());
        }
        let page = PAGE.min(self.frames.free_bytes());
        let (extents, bytes) = self.copy_block(range.start, page, Source::Open(fd), offset + room)?;
        extents.iter().for_each(|extent| self.frames.free(extent.frame, extent.len));
        if bytes > 0 { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Frames for `virt` with what the file has from `offset` on, at most `len` bytes, the rest
    /// of the last page zero, and how many bytes the file had.
    fn copy_block(&mut self, virt: u64, len: u64, source: Source, offset: u64) -> Result<(Vec<Extent>, u64), Errno> {
        if len == 0 {
            return Err(Errno::ENOMEM);
        }
        let near = self.mapped.frame_beside(&(virt..virt + len));
        let extents = self.frames.allocate(len, virt, near).ok_or(Errno::ENOMEM)?;
        let mut bytes = 0;
        for extent in &extents {
            let (from, frame, len) = (offset + bytes, extent.frame, extent.len);
            let read = match source {
                Source::Open(fd) => self.platform.read_file(fd, from, frame, len),
                Source::Kept(id) => self.platform.read_kept(id, from, frame, len),
            };
            match read {
                Ok(count) => bytes += count.min(extent.len),
                Err(errno) => {
                    extents.iter().for_each(|extent| self.frames.free(extent.frame, extent.len));
                    return Err(errno);
                }
            }
            if !bytes.is_multiple_of(PAGE) {
                break;
            }
        }
        Ok((self.keep_read(&extents, bytes), bytes))
    }

    /// Frees the frames that no byte was read into and clears what the last page has beyond
    /// them.
    fn keep_read(&mut self, extents: &[Extent], bytes: u64) -> Vec<Extent> {
        let mut kept = Vec::with_capacity(extents.len());
        let mut left = bytes;
        for extent in extents {
            let used = left.min(extent.len);
            let pages = used.next_multiple_of(PAGE);
            clear_frames(&self.window, extent.frame + used, pages - used);
            if pages > 0 {
                kept.push(Extent { len: pages, ..*extent });
            }
            if pages < extent.len {
                self.frames.free(extent.frame + pages, extent.len - pages);
            }
            left -= used;
        }
        kept
    }

    /// `MADV_DONTNEED` for a copy: it shows what the file holds by now. As on Linux, a file that has
    /// become shorter takes pages away, and one that has grown gives some.
    ///
    /// # Errors
    /// `ENOMEM` when there are no frames for what the file may have got, and those of
    /// [`Platform::read_kept`](crate::platform::Platform::read_kept).
    pub(super) fn read_anew(&mut self, part: &Vma) -> Result<(), Errno> {
        let Kind::FileCopy { offset, id, .. } = part.kind else { return Ok(()) };
        let holes = self.mapped.holes(part.range());
        let runs: Vec<Run> = self.mapped.within(part.range()).collect();
        for run in runs {
            let at = offset + (run.virt - part.start);
            let there = self.platform.read_kept(id, at, run.frame, run.len)?;
            if there < run.len {
                self.cut_out(run.virt + there..run.end())?;
                self.drop_frames(run.virt + there..run.end());
            }
        }
        for hole in holes {
            let mut at = hole.start;
            while at < hole.end {
                let block = (LARGE_PAGE - at % LARGE_PAGE).min(hole.end - at).min(self.frames.free_bytes());
                let from = offset + (at - part.start);
                let (extents, bytes) = self.copy_block(at, block, Source::Kept(id), from)?;
                self.map_extents(at, &extents, part.prot)?;
                at = if bytes < block { hole.end } else { at + block };
            }
        }
        Ok(())
    }

    /// Regions are gone: files of which nothing is left need not be kept.
    pub(super) fn let_files_go(&self, gone: &[Vma]) {
        let copy_of = |vma: &Vma| if let Kind::FileCopy { id, .. } = vma.kind { Some(id) } else { None };
        let mut ids: Vec<u64> = gone.iter().filter_map(copy_of).collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            if !self.regions.iter().any(|vma| copy_of(vma) == Some(id)) {
                self.platform.drop_file(id);
            }
        }
    }

    /// Whether the file ends before `part`, a copy of it, does.
    pub(super) fn ends_within(&self, part: &Vma) -> bool {
        part.kind.is_copy() && !self.mapped.holes(part.range()).is_empty()
    }

    /// Whether a page of `vma` without a frame will never have one: it lies beyond the end of
    /// the file.
    pub(super) fn is_beyond_file(&self, vma: &Vma, addr: u64) -> bool {
        vma.kind.is_copy() && self.mapped.find(addr).is_none()
    }
}
