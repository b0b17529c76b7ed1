//! Private mappings of files on platforms that can't map the files themselves.
//!
//! What the file holds is read into frames when it is mapped: a snapshot, which Linux leaves
//! open as well ("it is unspecified whether changes made to the file after the mmap() call are
//! visible", mmap(2)). Pages wholly beyond the file's end have no frame, and touching them is
//! SIGBUS. The descriptor is not kept, so what would need the file once more is refused: see
//! `docs/decisions/0005-private-files-on-bare-cores.md`.
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
use crate::abi::Errno;
use crate::platform::Prot;

/// `file_end` of a file whose end the mapping has not come to.
const NOT_SEEN: u64 = u64::MAX;

impl AddressSpace {
    /// Maps a copy of `len` bytes of a file at `at`, in place of whatever is there. That stays
    /// if the file can't be read, or not for want of memory.
    ///
    /// # Errors
    /// Those of [`Platform::read_file`](crate::platform::Platform::read_file), `ENOMEM`,
    /// `EOVERFLOW`.
    pub(super) fn map_copy(&mut self, at: u64, len: u64, prot: Prot, fd: i32, offset: u64) -> Result<(), Errno> {
        offset.checked_add(len).ok_or(Errno::EOVERFLOW)?;
        let range = at..at + len;
        self.check_room(range.clone(), fd, offset)?;
        let mut file_end = NOT_SEEN;
        let mut done = 0;
        while done < len && file_end == NOT_SEEN {
            let virt = at + done;
            let block = (LARGE_PAGE - virt % LARGE_PAGE).min(len - done);
            // What the mapping replaces is still taken when its first block is read.
            let block = block.min(self.frames.free_bytes());
            let copied = self.copy_block(virt, block, fd, offset + done).and_then(|(extents, bytes)| {
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
        let written = prot.contains(Prot::WRITE);
        let kind = Kind::FileCopy { offset, file_end, written, id: self.fresh_id() };
        self.regions.insert(Vma { start: range.start, end: range.end, prot, kind, policy: Policy::DEFAULT });
        Ok(())
    }

    /// Whether there may be room for what the file has for `range`, asked before all of a file
    /// that is too large is read for nothing.
    fn check_room(&mut self, range: Range<u64>, fd: i32, offset: u64) -> Result<(), Errno> {
        let len = range.end - range.start;
        let room = self.frames.free_bytes() + self.mapped.filled(range.clone(), len);
        if len <= room {
            return Ok(());
        }
        let (extents, bytes) = self.copy_block(range.start, PAGE.min(self.frames.free_bytes()), fd, offset + room)?;
        extents.iter().for_each(|extent| self.frames.free(extent.frame, extent.len));
        if bytes > 0 { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// Frames for `virt` with what the file has from `offset` on, at most `len` bytes, the rest
    /// of the last page zero, and how many bytes the file had.
    fn copy_block(&mut self, virt: u64, len: u64, fd: i32, offset: u64) -> Result<(Vec<Extent>, u64), Errno> {
        if len == 0 {
            return Err(Errno::ENOMEM);
        }
        let near = self.mapped.frame_beside(&(virt..virt + len));
        let extents = self.frames.allocate(len, virt, near).ok_or(Errno::ENOMEM)?;
        let mut bytes = 0;
        for extent in &extents {
            match self.platform.read_file(fd, offset + bytes, extent.frame, extent.len) {
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

    /// `MADV_DONTNEED` for a copy: the program wants to see the file again. It does where it could
    /// not write; where it could, nobody knows any more what the file held.
    ///
    /// # Errors
    /// `EINVAL`: the call is not possible for this kind of memory.
    pub(super) fn forget_copy(&self, part: &Vma) -> Result<(), Errno> {
        match part.kind {
            Kind::FileCopy { written: true, .. } => Err(Errno::EINVAL),
            _ => Ok(()),
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
