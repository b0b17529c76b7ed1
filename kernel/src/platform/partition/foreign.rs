//! Memory of Linux in the program's address space: files and segments that others share.
//!
//! The proxy maps them at the program's own addresses, pins their pages and says where those are
//! physically; the cell's page tables then lead to the very same pages. These requests are made
//! while the address space is locked: the core waits for the answer where it is.

use shm_ipc::calls::private;
use shm_ipc::layout::PAGE;

use crate::abi::Errno;
use crate::forward::{Reply, Request};

/// Addresses asked for at a time.
const BATCH: u64 = 512;

/// What is to be mapped.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// A file's descriptor and the offset in it.
    File(i32, u64),
    /// A segment's number.
    Segment(i32),
}

fn ask(number: u32, args: &[u64]) -> Reply {
    let mut request = Request::kernel(number);
    for (index, arg) in args.iter().enumerate() {
        request.set(index, *arg);
    }
    request.run_in_place()
}

/// Maps `source` in the proxy. Gives how many bytes there are, from the start.
///
/// # Errors
/// As mmap(2) or shmat(2).
pub fn map(source: Source, at: u64, len: u64, read_only: bool) -> Result<u64, Errno> {
    let (number, offset, segment) = match source {
        Source::File(fd, offset) => (fd, offset, 0),
        Source::Segment(shmid) => (shmid, 0, 1),
    };
    let number = i64::from(number).cast_unsigned();
    let reply = ask(private::FOREIGN_MAP, &[number, offset, at, len, segment, u64::from(read_only)]);
    reply.result.map(|_| reply.extra)
}

/// Unmaps what the proxy has mapped in the range.
pub fn unmap(at: u64, len: u64) {
    // Whatever could fail there has no meaning here: the cell's own tables are clear already.
    let _ = ask(private::FOREIGN_UNMAP, &[at, len]);
}

/// Moves a mapping in the proxy. Gives how many bytes there are now, from the start.
///
/// # Errors
/// As mremap(2).
pub fn remap(from: u64, old_len: u64, to: u64, new_len: u64) -> Result<u64, Errno> {
    let reply = ask(private::FOREIGN_MOVE, &[from, old_len, to, new_len]);
    reply.result.map(|_| reply.extra)
}

/// msync(2).
///
/// # Errors
/// As msync(2).
pub fn sync(at: u64, len: u64, flags: u32) -> Result<(), Errno> {
    ask(private::FOREIGN_SYNC, &[at, len, u64::from(flags)]).result.map(|_| ())
}

/// Physical addresses of the pages from `at` on, `len` bytes, handed to `take` with the address
/// that each belongs to; 0 where there is none.
///
/// # Errors
/// What `take` says, or the proxy.
pub fn pages(at: u64, len: u64, mut take: impl FnMut(u64, u64) -> Result<(), Errno>) -> Result<(), Errno> {
    let mut done = 0;
    while done < len {
        let count = ((len - done) / PAGE).min(BATCH);
        let mut request = Request::kernel(private::FOREIGN_PAGES);
        request.set(0, at + done);
        request.set(2, count);
        request.kernel_buffer(1, alloc::vec![0; count as usize * 8]);
        request.run_in_place().result?;
        for (index, word) in request.kernel_bytes(0).chunks_exact(8).enumerate() {
            let physical = u64::from_le_bytes(word.try_into().unwrap_or_default());
            take(at + done + index as u64 * PAGE, physical)?;
        }
        done += count * PAGE;
    }
    Ok(())
}

/// Reads a file into frames of the cell.
///
/// # Errors
/// As mmap(2) where it can't be mapped, else as pread(2).
pub fn read(fd: i32, offset: u64, frame: u64, len: u64) -> Result<u64, Errno> {
    /// As much as Linux reads at a time (`MAX_RW_COUNT`), in whole pages.
    const MOST: u64 = 0x7fff_f000;
    let mut done = 0;
    while done < len {
        let mut request = Request::kernel(private::READ_MAPPED);
        request.set(0, i64::from(fd).cast_unsigned());
        request.set(2, (len - done).min(MOST));
        request.set(3, offset + done);
        request.frames(1, frame + done, (len - done).min(MOST))?;
        match request.run_in_place().result? {
            0 => break,
            bytes => done += bytes,
        }
    }
    Ok(done)
}

/// Keeps a file for a private mapping.
///
/// # Errors
/// As mmap(2).
pub fn keep(copy: u64, fd: i32, offset: u64, len: u64) -> Result<(), Errno> {
    ask(private::KEEP_FILE, &[i64::from(fd).cast_unsigned(), offset, len, copy]).result.map(|_| ())
}

/// Reads a kept file into frames of the cell. Gives how many bytes there are, in whole pages.
///
/// # Errors
/// What the proxy says.
pub fn read_kept(copy: u64, offset: u64, frame: u64, len: u64) -> Result<u64, Errno> {
    let mut request = Request::kernel(private::READ_KEPT);
    request.set(0, copy);
    request.set(2, len);
    request.set(3, offset);
    request.frames(1, frame, len)?;
    Ok(request.run_in_place().result?.min(len) / PAGE * PAGE)
}

/// A kept file is not needed any more.
pub fn drop_file(copy: u64) {
    // The proxy forgets it, or has never known it: both are right.
    let _ = ask(private::DROP_FILE, &[copy]);
}

/// Sleeps on a word while it holds `expected`, at most until `until`. `true` when woken.
pub fn wait(address: u64, expected: u32, bits: u32, until: u64) -> bool {
    ask(private::FOREIGN_FUTEX, &[address, 1, expected.into(), until, bits.into()]).result.is_ok()
}

/// Wakes sleepers on a word.
pub fn wake(address: u64, count: u32, bits: u32) -> u64 {
    ask(private::FOREIGN_FUTEX, &[address, 0, count.into(), 0, bits.into()]).result.unwrap_or(0)
}

/// A clock that only Linux has.
///
/// # Errors
/// `EINVAL` for a clock that is not known.
pub fn clock(id: u32) -> Result<u64, Errno> {
    ask(private::HOST_CLOCK, &[u64::from(id)]).result
}
