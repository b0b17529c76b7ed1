//! Program buffers as the proxy can reach them.
//!
//! A forwarded call names its buffers by offsets into the cell's memory, and pages of Linux by
//! their addresses. [`AddressSpace::pieces`] resolves a buffer into such pieces and gives lazy
//! memory its frames on the way. The caller pins the frames, under the same lock, for as long
//! as the call is under way.

use alloc::vec::Vec;

use shm_ipc::layout::PAGE;

use super::fault::Access;
use super::regions::Vma;
use super::space::AddressSpace;

/// A part of a program buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The cell's memory.
    Frames {
        /// Offset there.
        frame: u64,
        /// Bytes.
        len: u64,
    },
    /// Pages of Linux, by the program's address.
    Foreign {
        /// Address.
        addr: u64,
        /// Bytes.
        len: u64,
    },
}

impl Piece {
    /// Makes the piece longer by `next` if that follows it.
    fn join(&mut self, next: &Piece) -> bool {
        match (self, next) {
            (Piece::Frames { frame, len }, Piece::Frames { frame: next, len: more }) if *frame + *len == *next => {
                *len += more;
                true
            }
            (Piece::Foreign { addr, len }, Piece::Foreign { addr: next, len: more }) if *addr + *len == *next => {
                *len += more;
                true
            }
            _ => false,
        }
    }
}

fn push(pieces: &mut Vec<Piece>, first_own: usize, piece: Piece) {
    let joined = pieces.len() > first_own && pieces.last_mut().is_some_and(|last| last.join(&piece));
    if !joined {
        pieces.push(piece);
    }
}

impl AddressSpace {
    /// Appends the pieces of the `len` bytes at `addr` to `out`, up to the first byte that the
    /// program could not access itself. Gives the number of bytes that they cover.
    pub fn pieces(&mut self, addr: u64, len: u64, access: Access, out: &mut Vec<Piece>) -> u64 {
        let end = addr.saturating_add(len).min(self.range.end);
        let first_own = out.len();
        let mut at = addr;
        while at < end {
            let Some(vma) = self.regions.find(at).filter(|vma| access.is_allowed(vma.prot)) else { break };
            let stop = vma.end.min(end);
            if !vma.kind.has_frames() {
                push(out, first_own, Piece::Foreign { addr: at, len: stop - at });
                at = stop;
                continue;
            }
            let Some(run) = self.frames_for(&vma, at) else { break };
            let len = (run.1).min(stop - at);
            push(out, first_own, Piece::Frames { frame: run.0, len });
            at += len;
        }
        at.saturating_sub(addr)
    }

    /// The frame behind `at` of `vma`, and how many bytes follow it in one run. Fills it first
    /// if need be.
    fn frames_for(&mut self, vma: &Vma, at: u64) -> Option<(u64, u64)> {
        if self.is_beyond_file(vma, at) {
            return None;
        }
        if self.mapped.find(at).is_none() {
            self.fill_at(vma, at / PAGE * PAGE).ok()?;
        }
        let run = self.mapped.find(at)?;
        Some((run.frame + (at - run.virt), run.end() - at))
    }

    /// Holds frames for a forwarded call that is under way: if the program unmaps them
    /// meanwhile, nobody else gets them.
    pub fn pin(&mut self, frame: u64, len: u64) {
        self.frames.pin(frame, len);
    }

    /// Ends one [`AddressSpace::pin`] of the same frames.
    pub fn unpin(&mut self, frame: u64, len: u64) {
        self.frames.unpin(frame, len);
    }
}
