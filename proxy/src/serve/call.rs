//! One call, as its handler sees it.

use shm_ipc::block::{Block, Segment};
use shm_ipc::calls::private;

use super::Service;
use super::descriptors::{Descriptors, Kind};
use super::host::{self, Arg, Errno, Outcome};
use super::pool::Lead;

/// Largest copy of a buffer that the proxy makes for one call.
const MOST_COPIED: u64 = 64 << 20;

/// A call being executed.
#[derive(Debug)]
pub struct Call<'c, 's> {
    /// Its number.
    pub nr: u32,
    /// What it came with, checked.
    pub block: &'c Block,
    /// Everything that is not about this call alone.
    pub service: &'c Service,
    /// The second result.
    pub extra: u64,
    /// Whether some pointers lead nowhere ([`private::BAD_POINTERS`]).
    pub has_bad_pointers: bool,
    lead: &'c mut Lead<'s>,
}

impl<'c, 's> Call<'c, 's> {
    /// A call that the thread of `lead` has taken from a ring.
    pub fn new(nr: u32, block: &'c Block, service: &'c Service, lead: &'c mut Lead<'s>) -> Self {
        let has_bad_pointers = nr & private::BAD_POINTERS != 0;
        Call { nr: nr & !private::BAD_POINTERS, block, service, extra: 0, has_bad_pointers, lead }
    }

    /// Argument `index` as it came.
    pub fn word(&self, index: usize) -> u64 {
        self.block.args[index]
    }

    /// Argument `index` where Linux takes an int.
    pub fn int(&self, index: usize) -> i32 {
        self.block.args[index] as u32 as i32
    }

    /// The descriptor in argument `index`.
    pub fn fd(&self, index: usize) -> Result<i32, Errno> {
        self.descriptors().check(self.word(index))
    }

    /// The table of descriptors.
    pub fn descriptors(&self) -> &'c Descriptors {
        &self.service.descriptors
    }

    /// What kind of file the descriptor in argument `index` is.
    pub fn kind(&self, index: usize) -> Result<Kind, Errno> {
        self.descriptors().kind(self.fd(index)?)
    }

    /// Whether `pid` is what the program takes for its own process.
    pub fn is_own(&self, pid: i32) -> bool {
        pid == 0 || pid == self.service.cell.child
    }

    /// Makes a system call that does not block.
    pub fn inline(&self, nr: i64, args: &[Arg<'_>; 6]) -> Outcome {
        host::call(nr as u32, args)
    }

    /// Makes a system call that may block: another thread leads meanwhile, and the call can be
    /// cancelled.
    pub fn blocking(&mut self, nr: i64, args: &[Arg<'_>; 6]) -> Outcome {
        self.lead.blocking(nr as u32, args)
    }

    /// Makes a system call in the one way or the other.
    pub fn make(&mut self, nr: i64, args: &[Arg<'_>; 6], may_block: bool) -> Outcome {
        if may_block { self.blocking(nr, args) } else { self.inline(nr, args) }
    }

    /// Bytes in the segments of argument `index`.
    pub fn len(&self, index: usize) -> u64 {
        self.block.segments(index).iter().map(|segment| segment.len).fold(0, u64::saturating_add)
    }

    /// Whether argument `index` came with a buffer.
    pub fn has_buffer(&self, index: usize) -> bool {
        !self.block.segments(index).is_empty()
    }

    /// Copies `len` bytes of a buffer out of the cell's memory.
    pub fn copy_in(&self, index: usize, len: u64) -> Result<Vec<u8>, Errno> {
        if len > self.len(index) {
            return Err(Errno(libc::EFAULT));
        }
        let mut bytes = Vec::new();
        if len > MOST_COPIED || bytes.try_reserve_exact(len as usize).is_err() {
            return Err(Errno(libc::ENOMEM));
        }
        bytes.resize(len as usize, 0);
        let mut at = 0;
        for segment in self.block.segments(index) {
            let part = (segment.len as usize).min(bytes.len() - at);
            if !self.service.cell.region.read(segment.offset, &mut bytes[at..at + part]) {
                return Err(Errno(libc::EFAULT));
            }
            at += part;
        }
        Ok(bytes)
    }

    /// Copies `N` bytes of a buffer.
    pub fn structure<const N: usize>(&self, index: usize) -> Result<[u8; N], Errno> {
        self.copy_in(index, N as u64)?.try_into().map_err(|_| Errno(libc::EFAULT))
    }

    /// Copies `bytes` into a buffer, from byte `offset` of it on; what does not fit is cut.
    pub fn copy_out(&self, index: usize, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        let mut skip = offset;
        let mut left = bytes;
        for Segment { offset, len } in self.block.segments(index) {
            let start = skip.min(*len);
            skip -= start;
            let part = left.len().min((*len - start) as usize);
            if part > 0 && !self.service.cell.region.write(offset + start, &left[..part]) {
                return Err(Errno(libc::EFAULT));
            }
            left = &left[part..];
        }
        Ok(())
    }
}
