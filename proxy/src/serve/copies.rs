//! Files behind private mappings of a program on bare cores, which are copies in the cell's memory.
//!
//! The kernel reads a file when it is mapped, and the program may close it then. For what comes
//! later (its name in `/proc/<pid>/maps`, `MADV_DONTNEED`) this process keeps a mapping of the same
//! part of the file, at an address of its own: as on Linux, it is the mapping that keeps the file.
//! A descriptor would not do: to close one gives up the program's locks on the file (fcntl(2)).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use shm_ipc::calls::private;

use super::call::Call;
use super::host::{self, Arg, Errno, Outcome};

const PAGE: u64 = 4096;

/// A mapping of this process.
#[derive(Debug)]
struct Kept {
    at: u64,
    len: u64,
    /// Where in the file it begins.
    offset: u64,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = host::numbers(libc::SYS_munmap, &[self.at as i64, self.len as i64]);
    }
}

/// By the number that the kernel has given the program's mapping.
#[derive(Debug, Default)]
pub struct Copies(Mutex<BTreeMap<u64, Kept>>);

impl Copies {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An address at which this process has mapped the same file.
    pub fn address(&self, number: u64) -> Option<u64> {
        self.lock().get(&number).map(|kept| kept.at)
    }
}

/// Executes a request about such files; `None` when `call` is none.
pub fn execute(call: &mut Call<'_, '_>) -> Option<Outcome> {
    Some(match call.nr {
        private::READ_MAPPED => read(call),
        private::KEEP_FILE => keep(call),
        private::READ_KEPT => read_kept(call),
        private::DROP_FILE => {
            call.service.copies.lock().remove(&call.word(0));
            Ok(0)
        }
        _ => return None,
    })
}

/// The descriptor in argument 0: the program's, or that of its file, which is the proxy's.
fn descriptor(call: &Call<'_, '_>) -> Result<i32, Errno> {
    let fd = call.int(0);
    let is_kernels = call.service.programs.has(fd);
    if call.descriptors().is_private(fd) && !is_kernels { Err(Errno(libc::EBADF)) } else { Ok(fd) }
}

/// The one piece of the cell's memory that a request is to fill, argument 1.
fn buffer<'c>(call: &'c Call<'_, '_>) -> Result<(Arg<'c>, u64), Errno> {
    let [segment] = call.block.segments(1) else { return Err(Errno(libc::EFAULT)) };
    let len = segment.len.min(call.word(2));
    let buffer = Arg::shared(&call.service.cell.region, segment.offset, len);
    Ok((buffer.ok_or(Errno(libc::EFAULT))?, len))
}

/// What a private mapping of a file shows.
fn read(call: &mut Call<'_, '_>) -> Outcome {
    let fd = descriptor(call)?;
    if host::access_mode(fd)? == libc::O_WRONLY {
        return Err(Errno(libc::EACCES));
    }
    let (buffer, len) = buffer(call)?;
    let (file, offset, len) = (Arg::number(fd as u64), Arg::number(call.word(3)), Arg::number(len));
    let result = call.inline(libc::SYS_pread64, &[file, buffer, len, offset, Arg::null(), Arg::null()]);
    // What can't be read at a place can't be mapped either: mmap(2) says ENODEV.
    result.map_err(|errno| match errno.0 {
        libc::ESPIPE | libc::EISDIR | libc::EINVAL | libc::ENXIO => Errno(libc::ENODEV),
        _ => errno,
    })
}

fn keep(call: &Call<'_, '_>) -> Outcome {
    let (fd, offset, len, number) = (descriptor(call)?, call.word(1), call.word(2), call.word(3));
    if !offset.is_multiple_of(PAGE) || !len.is_multiple_of(PAGE) {
        return Err(Errno(libc::EINVAL));
    }
    let flags = i64::from(libc::MAP_PRIVATE | libc::MAP_NORESERVE);
    let read = i64::from(libc::PROT_READ);
    let at = host::numbers(libc::SYS_mmap, &[0, len as i64, read, flags, i64::from(fd), offset as i64])?;
    call.service.copies.lock().insert(number, Kept { at: at as u64, len, offset });
    Ok(0)
}

/// Copies from the mapping, by Linux and not by hand: what lies beyond the file's end is an error of
/// the call then and no signal.
fn read_kept(call: &Call<'_, '_>) -> Outcome {
    let (number, offset) = (call.word(0), call.word(3));
    let (buffer, len) = buffer(call)?;
    let mut copies = call.service.copies.lock();
    let kept = copies.get_mut(&number).ok_or(Errno(libc::EBADF))?;
    let from = offset.checked_sub(kept.offset).ok_or(Errno(libc::EINVAL))?;
    let end = from.checked_add(len).ok_or(Errno(libc::EINVAL))?;
    if end > kept.len {
        // The program's mapping has grown (mremap(2)).
        let args = [kept.at as i64, kept.len as i64, end as i64, i64::from(libc::MREMAP_MAYMOVE)];
        kept.at = host::numbers(libc::SYS_mremap, &args)? as u64;
        kept.len = end;
    }
    match host::copy_own(kept.at + from, buffer, len) {
        Err(Errno(libc::EFAULT)) => Ok(0),
        result => result,
    }
}
