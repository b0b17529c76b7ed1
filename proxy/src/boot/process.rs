//! The `process` platform: the kernel in a forked child of the proxy.
//!
//! The child shares descriptors, working directory and umask with the proxy, so that what one
//! opens the other has, under the same number. It does not execute anything: it leaves the
//! proxy's copied address space behind by unmapping it (`kernel/src/platform/process/start.rs`).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

use shm_ipc::boot::{BootInfo, FLAG_TRANSPARENT_LARGE_PAGES};
use shm_ipc::layout::Layout;
use shm_ipc::region::Region;

use super::image::{self, Loaded};
use super::info::{self, Plan};
use super::places::{self, UNIT};
use super::vdso;
use crate::reserve::memory::CellMemory;

/// Where things lie in the child.
#[derive(Debug, Clone, Copy)]
struct Places {
    /// The kernel image.
    image: u64,
    /// The cell's memory; there in the proxy too.
    window: u64,
}

impl Places {
    /// Above the program's addresses, for `len` bytes of memory.
    fn choose(len: u64) -> io::Result<Self> {
        let too_large = || io::Error::other("the cell's memory is larger than the address space");
        let window = places::end()?.checked_sub(len).ok_or_else(too_large)? / UNIT * UNIT;
        let image = window.checked_sub(UNIT).ok_or_else(too_large)?;
        Ok(Places { image, window })
    }
}

/// A cell that has been started.
#[derive(Debug)]
pub struct Child {
    /// The child process: the program's process id.
    pub pid: libc::pid_t,
    /// The cell's memory as the proxy sees it.
    pub region: Region,
}

/// Starts the cell in `memory` of `layout.end` bytes, all zero, of which it may use `limit`;
/// `large_pages` says whether transparent large pages may be asked for. Must be called by the only thread of the proxy, which must outlive the
/// cell: the child dies with it.
///
/// # Errors
/// Those of mapping and cloning.
pub fn start(plan: &Plan<'_>, memory: &CellMemory, limit: u64, large_pages: bool) -> io::Result<Child> {
    let places = Places::choose(plan.layout.end)?;
    let region = map_window(plan, memory, places.window)?;
    let loaded = image::load(image::PROCESS, places.image)?;
    let vdso = vdso::find();
    info::describe(plan, &region, |info| {
        info.vdso = vdso.base;
        info.vdso_clock = vdso.clock;
        info.keep = [vdso.keep.start, vdso.keep.end - vdso.keep.start];
        info.image = [loaded.base, loaded.len];
        info.window = places.window;
        info.user_end = places.image;
        info.memory_fd = memory.as_fd().as_raw_fd() as u64;
        if let Some(pool) = memory.pool() {
            info.pool = [plan.layout.end - pool.bytes, pool.bytes];
            info.pool_fd = pool.file.as_raw_fd() as u64;
            info.frames_limit = limit;
        }
        info.flags |= if large_pages { FLAG_TRANSPARENT_LARGE_PAGES } else { 0 };
    })?;
    let name = short_name(plan.path);
    // SAFETY: single-threaded (the caller's promise). Without CLONE_VM the child has its own
    // copy of everything but the descriptors and the working directory.
    let pid = unsafe {
        let flags = libc::CLONE_FILES | libc::CLONE_FS | libc::SIGCHLD;
        libc::syscall(libc::SYS_clone, flags, ptr::null::<u8>(), ptr::null::<u8>(), ptr::null::<u8>(), 0)
    };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => become_cell(&region, places.window, &loaded, plan.layout, &name),
        pid => {
            // SAFETY: the image was only there to be inherited; nothing refers to it here.
            unsafe { libc::munmap(ptr::without_provenance_mut(loaded.base as usize), loaded.len as usize) };
            Ok(Child { pid: pid as libc::pid_t, region })
        }
    }
}

/// Maps the memory, and what comes from the pool over its end.
fn map_window(plan: &Plan<'_>, memory: &CellMemory, window: u64) -> io::Result<Region> {
    let len = plan.layout.end;
    let map = |offset: u64, len: u64, fd: BorrowedFd<'_>, flags: i32| {
        let at = ptr::without_provenance_mut((window + offset) as usize);
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping that replaces nothing, or a part of the one made before it.
        let base = unsafe { libc::mmap(at, len as usize, protection, libc::MAP_SHARED | flags, fd.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(base) }
    };
    let base = map(0, len, memory.as_fd(), libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE)?;
    if let Some(pool) = memory.pool() {
        map(len - pool.bytes, pool.bytes, pool.file.as_fd(), libc::MAP_FIXED)?;
    }
    let base = NonNull::new(base.cast()).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the whole range was just mapped and is never unmapped.
    Ok(unsafe { Region::new(base, len) })
}

fn short_name(path: &CString) -> CString {
    let bytes = path.as_bytes();
    let base = bytes.rsplit(|byte| *byte == b'/').next().unwrap_or(bytes);
    CString::new(&base[..base.len().min(15)]).unwrap_or_default()
}

/// The child's part: ends in the kernel. Only system calls from here on.
fn become_cell(region: &Region, window: u64, loaded: &Loaded, layout: Layout, name: &CString) -> ! {
    const RSEQ_SIGNATURE: u32 = 0x5305_3053;
    const RSEQ_UNREGISTER: i32 = 1;
    let all_signals = u64::MAX;
    // SAFETY: system calls on the child's own state. The restartable sequence of glibc lies in
    // memory that the kernel is about to unmap, so it is given up first.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all_signals, ptr::null::<u64>(), 8);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::setpgid(0, 0);
        libc::prctl(libc::PR_SET_NAME, name.as_ptr());
        if let Some(area) = rseq_area() {
            libc::syscall(libc::SYS_rseq, area, 32, RSEQ_UNREGISTER, RSEQ_SIGNATURE);
        }
        let pid = libc::getpid() as u64;
        if libc::getppid() == 1 || !region.write_words(layout.boot, &[pid]) {
            libc::_exit(125);
        }
        let entry: extern "C" fn(u64, u64) -> ! = std::mem::transmute(loaded.entry as usize);
        entry(window, region.len())
    }
}

/// Where glibc (2.35 and later) has registered this thread's restartable sequences.
fn rseq_area() -> Option<*const u8> {
    // SAFETY: looks two data symbols up and reads the thread pointer.
    unsafe {
        let offset = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()).cast::<isize>();
        let size = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_size".as_ptr()).cast::<u32>();
        if offset.is_null() || size.is_null() || *size == 0 {
            return None;
        }
        let thread: *const u8;
        std::arch::asm!("mov {}, fs:0", out(reg) thread, options(nostack, preserves_flags));
        Some(thread.offset(*offset))
    }
}

/// `pid` is the first word of the boot information; `become_cell` relies on it.
const _: () = assert!(std::mem::offset_of!(BootInfo, pid) == 0);
