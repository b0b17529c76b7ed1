//! Memory of Linux for a program on bare cores: files and segments that it shares with others.
//!
//! They are mapped in this process at the program's own addresses, where the proxy has nothing of
//! its own, and pinned; the cell's kernel leads its page tables to the pages. Linux pins pages of
//! tmpfs, hugetlbfs and memfds for long, and of no other file: those can't be shared with a cell.

use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shm_ipc::bare::PROXY;
use shm_ipc::calls::private;

use super::bare::Held;
use super::call::Call;
use super::copies;
use super::host::{self, Arg, Errno, Outcome};
use crate::reserve::bare::Pinned;

const PAGE: u64 = 4096;

/// A part of a mapping.
#[derive(Debug, Clone)]
struct Part {
    start: u64,
    end: u64,
    /// Address of the first pinned page.
    first: u64,
    /// Bytes that the file has from there on, in whole pages: as far as the mapping may grow.
    reach: u64,
    /// None where the file has nothing.
    pinned: Option<Arc<Pinned>>,
    /// Kept for as long as the mapping.
    attached: Option<Arc<Attached>>,
}

/// A segment that this process has attached besides, so that Linux counts the attachment.
#[derive(Debug)]
struct Attached(i64);

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = host::numbers(libc::SYS_shmdt, &[self.0]);
    }
}

/// Everything that is mapped for the program.
#[derive(Debug, Default)]
pub struct Mappings(Mutex<Vec<Part>>);

impl Mappings {
    fn lock(&self) -> MutexGuard<'_, Vec<Part>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unmaps and forgets what lies in the range. There may be mappings of this process's own in there, too.
    fn remove(&self, start: u64, end: u64) -> Result<(), Errno> {
        for part in self.lock().iter().filter(|part| part.start < end && start < part.end) {
            let (from, to) = (part.start.max(start), part.end.min(end));
            host::numbers(libc::SYS_munmap, &[from as i64, (to - from) as i64])?;
        }
        self.forget(start, end);
        Ok(())
    }

    /// Forgets what was in the range.
    fn forget(&self, start: u64, end: u64) {
        let mut parts = self.lock();
        let cut = |part: Part| {
            let before = Part { end: part.end.min(start), ..part.clone() };
            let after = Part { start: part.start.max(end), ..part };
            [before, after].into_iter().filter(|part| part.start < part.end)
        };
        *parts = std::mem::take(&mut *parts).into_iter().flat_map(cut).collect();
    }

    /// How far the file reaches behind `at`, the start of a mapping or of a part of it; and what keeps it.
    fn behind(&self, at: u64) -> (u64, Option<Arc<Attached>>) {
        let parts = self.lock();
        let part = parts.iter().find(|part| (part.start..part.end).contains(&at));
        part.map_or((0, None), |part| (part.reach.saturating_sub(at - part.first), part.attached.clone()))
    }

    /// Physical address of the page at `at`; 0 when there is none.
    fn physical(&self, at: u64) -> u64 {
        let parts = self.lock();
        let part = parts.iter().find(|part| (part.start..part.end).contains(&at));
        let page = |part: &Part| part.pinned.as_ref()?.physical().get(((at - part.first) / PAGE) as usize).copied();
        part.and_then(page).unwrap_or(0)
    }
}

/// Executes a request about such memory; `None` when `call` is none.
pub fn execute(call: &mut Call<'_, '_>) -> Option<Outcome> {
    let held = call.service.cell.bare.clone()?;
    Some(match call.nr {
        private::FOREIGN_MAP => map(call, &held),
        private::FOREIGN_PAGES => pages(call),
        private::FOREIGN_UNMAP => unmap(call, &held),
        private::FOREIGN_MOVE => remap(call, &held),
        private::FOREIGN_SYNC => sync(call, &held),
        private::FOREIGN_FUTEX => futex(call, &held),
        private::HOST_CLOCK => clock(call),
        _ => return copies::execute(call),
    })
}

/// The range in arguments `index` and `index + 1`, of the program's addresses.
fn range(call: &Call<'_, '_>, held: &Held, index: usize) -> Option<(u64, u64)> {
    let (at, len) = (call.word(index), call.word(index + 1));
    let end = at.checked_add(len)?;
    let is_good =
        at.is_multiple_of(PAGE) && len.is_multiple_of(PAGE) && len > 0 && at >= PAGE && end <= held.user_end();
    let is_ours = at < PROXY.end && PROXY.start < end;
    (is_good && !is_ours).then_some((at, len))
}

/// Bytes of a file from `offset` on, in whole pages.
fn there(fd: i32, offset: u64) -> u64 {
    let size = std::fs::metadata(format!("/proc/self/fd/{fd}")).map_or(0, |metadata| metadata.size());
    size.saturating_sub(offset).checked_next_multiple_of(PAGE).unwrap_or(0)
}

fn map(call: &mut Call<'_, '_>, held: &Held) -> Outcome {
    let (at, len) = range(call, held, 2).ok_or(Errno(libc::EINVAL))?;
    call.service.mappings.remove(at, at + len)?;
    let is_segment = call.word(4) == 1;
    let (reach, attached) =
        if is_segment { (len, Some(Arc::new(attach(call, at, len)?))) } else { (map_file(call, at, len)?, None) };
    let bytes = reach.min(len);
    let pinned = if bytes == 0 { Ok(None) } else { held.pin(at, bytes).map(Some) };
    let pinned = pinned.map_err(|error| {
        tracing::debug!("memory at {at:#x} can't be pinned: {error}");
        let _ = host::numbers(libc::SYS_munmap, &[at as i64, len as i64]);
        refuse(call, is_segment);
        Errno(libc::ENODEV)
    })?;
    let pinned = pinned.map(Arc::new);
    let part = Part { start: at, end: at + len, first: at, reach, pinned, attached };
    call.service.mappings.lock().push(part);
    call.extra = bytes;
    Ok(0)
}

/// Says by name what is not supported.
fn refuse(call: &Call<'_, '_>, is_segment: bool) {
    let what = if is_segment { format!("segment {}", call.int(0)) } else { name_of(call.int(0)) };
    let line = format!(
        "tacet: {what} can't be shared with a cell on bare cores: Linux pins only tmpfs, hugetlbfs and memfd; \
         the program gets ENODEV. Use such a file, MAP_PRIVATE, or --platform process\n"
    );
    let (stderr, len) = (Arg::number(libc::STDERR_FILENO as u64), Arg::number(line.len() as u64));
    let _ = call
        .inline(libc::SYS_write, &[stderr, Arg::input(line.as_bytes()), len, Arg::null(), Arg::null(), Arg::null()]);
}

fn name_of(fd: i32) -> String {
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}"));
    link.map_or_else(|_| format!("descriptor {fd}"), |path| path.display().to_string())
}

fn map_file(call: &Call<'_, '_>, at: u64, len: u64) -> Result<u64, Errno> {
    let fd = call.fd(0)?;
    let (offset, is_read_only) = (call.word(1), call.word(5) == 1);
    let mode = host::access_mode(fd)?;
    if mode == libc::O_WRONLY || mode == libc::O_RDONLY && !is_read_only {
        return Err(Errno(libc::EACCES));
    }
    let bytes = there(fd, offset);
    // Pages are pinned for writing: of a file that is open for reading only, through a descriptor
    // of our own for a moment. What the program may do is said by the cell's page tables.
    let writable = if mode == libc::O_RDONLY { Some(open_own(call, &format!("/proc/self/fd/{fd}"))?) } else { None };
    let fd = writable.unwrap_or(i64::from(fd));
    let mapped = map_shared(at, len, fd, offset);
    if let Some(own) = writable {
        let _ = host::numbers(libc::SYS_close, &[own]);
    }
    mapped.map(|()| bytes)
}

/// Maps a file at the program's address, for reading and writing. EEXIST where this process has something
/// of its own: where the stack is unlimited, Linux puts that in the middle of the program's addresses.
fn map_shared(at: u64, len: u64, fd: i64, offset: u64) -> Result<(), Errno> {
    let protection = i64::from(libc::PROT_READ | libc::PROT_WRITE);
    let flags = i64::from(libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE);
    host::numbers(libc::SYS_mmap, &[at as i64, len as i64, protection, flags, fd, offset as i64]).map(|_| ())
}

/// Takes a free place in the program's addresses.
fn claim(at: u64, len: u64) -> Result<(), Errno> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    let (protection, flags) = (i64::from(libc::PROT_NONE), i64::from(flags));
    host::numbers(libc::SYS_mmap, &[at as i64, len as i64, protection, flags, -1, 0]).map(|_| ())
}

/// A file, open for reading and writing, among the proxy's own descriptors.
fn open_own(call: &Call<'_, '_>, path: &str) -> Result<i64, Errno> {
    let path = std::ffi::CString::new(path).unwrap_or_default();
    let flags = Arg::number((libc::O_RDWR | libc::O_CLOEXEC) as u64);
    let here = Arg::number(libc::AT_FDCWD as u64);
    let args = [here, Arg::text(&path), flags, Arg::null(), Arg::null(), Arg::null()];
    let low = call.inline(libc::SYS_openat, &args).map_err(|_| Errno(libc::ENODEV))?;
    let first = i64::from(call.descriptors().private().start);
    let own = host::numbers(libc::SYS_fcntl, &[low, i64::from(libc::F_DUPFD_CLOEXEC), first]);
    let _ = host::numbers(libc::SYS_close, &[low]);
    own
}

/// Maps a segment. Linux pins none that was mapped by shmat(2), but the file behind it is one of
/// tmpfs: that is mapped at the program's address, and the segment stays attached elsewhere, which
/// is what shmctl(2) and IPC_RMID count.
fn attach(call: &Call<'_, '_>, at: u64, len: u64) -> Result<Attached, Errno> {
    let attached = Attached(host::numbers(libc::SYS_shmat, &[i64::from(call.int(0)), 0, 0])?);
    let path = format!("/proc/self/map_files/{:x}-{:x}", attached.0, attached.0 as u64 + len);
    let file = open_own(call, &path)?;
    let mapped = map_shared(at, len, file, 0);
    let _ = host::numbers(libc::SYS_close, &[file]);
    mapped.map(|()| attached)
}

fn pages(call: &Call<'_, '_>) -> Outcome {
    let (at, count) = (call.word(0), call.word(2).min(call.len(1) / 8));
    let page = |index: u64| call.service.mappings.physical(at.wrapping_add(index * PAGE)).to_le_bytes();
    let bytes: Vec<u8> = (0..count).flat_map(page).collect();
    call.copy_out(1, 0, &bytes)?;
    Ok(0)
}

fn unmap(call: &Call<'_, '_>, held: &Held) -> Outcome {
    let (at, len) = range(call, held, 0).ok_or(Errno(libc::EINVAL))?;
    call.service.mappings.remove(at, at + len)?;
    Ok(0)
}

fn sync(call: &Call<'_, '_>, held: &Held) -> Outcome {
    let (at, len) = range(call, held, 0).ok_or(Errno(libc::EINVAL))?;
    host::numbers(libc::SYS_msync, &[at as i64, len as i64, call.word(2) as i64])
}

fn remap(call: &mut Call<'_, '_>, held: &Held) -> Outcome {
    let (from, old) = range(call, held, 0).ok_or(Errno(libc::EINVAL))?;
    let (to, new) = range(call, held, 2).ok_or(Errno(libc::EINVAL))?;
    let mappings = &call.service.mappings;
    let (reach, attached) = mappings.behind(from);
    let is_moved = from != to;
    if is_moved {
        mappings.remove(to, to + new)?;
        claim(to, new)?;
    }
    let flags = if is_moved { libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED } else { 0 };
    let moved = host::numbers(libc::SYS_mremap, &[from as i64, old as i64, new as i64, i64::from(flags), to as i64]);
    if let Err(errno) = moved {
        if is_moved {
            host::numbers(libc::SYS_munmap, &[to as i64, new as i64])?;
        }
        return Err(errno);
    }
    mappings.forget(from, from + old);
    let bytes = reach.min(new);
    let pinned = if bytes == 0 { Ok(None) } else { held.pin(to, bytes).map(Some) };
    let pinned = pinned.map_err(|_| Errno(libc::ENOMEM))?.map(Arc::new);
    mappings.lock().push(Part { start: to, end: to + new, first: to, reach, pinned, attached });
    call.extra = bytes;
    Ok(0)
}

fn futex(call: &mut Call<'_, '_>, held: &Held) -> Outcome {
    let (at, value) = (call.word(0), call.word(2));
    if at >= held.user_end() {
        return Err(Errno(libc::EFAULT));
    }
    let bits = call.word(4);
    if call.word(1) == 0 {
        let wake = i64::from(libc::FUTEX_WAKE_BITSET);
        return host::numbers(libc::SYS_futex, &[at as i64, wake, value as i64, 0, 0, bits as i64]);
    }
    let until = [call.word(3) / 1_000_000_000, call.word(3) % 1_000_000_000];
    let until: Vec<u8> = until.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let (operation, expected) = (Arg::number(libc::FUTEX_WAIT_BITSET as u64), Arg::number(value));
    call.blocking(
        libc::SYS_futex,
        &[Arg::number(at), operation, expected, Arg::input(&until), Arg::null(), Arg::number(bits)],
    )
}

fn clock(call: &Call<'_, '_>) -> Outcome {
    let mut time = [0; 16];
    let (id, none) = (Arg::number(call.word(0)), Arg::null);
    call.inline(libc::SYS_clock_gettime, &[id, Arg::output(&mut time), none(), none(), none(), none()])?;
    Ok((host::u64_at(&time, 0) * 1_000_000_000 + host::u64_at(&time, 8)) as i64)
}
