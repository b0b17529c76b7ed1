//! The `process` platform: the kernel in a forked child of the proxy.
//!
//! The child shares descriptors, working directory and umask with the proxy, so that what one
//! opens the other has, under the same number. It does not execute anything: it leaves the
//! proxy's copied address space behind by unmapping it (`kernel/src/platform/process/start.rs`).

use std::ffi::CString;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::time::Duration;

use shm_ipc::boot::{self, BootInfo, FLAG_NAME_UNSUPPORTED, FLAG_TRANSPARENT_LARGE_PAGES};
use shm_ipc::layout::Layout;
use shm_ipc::region::Region;

use super::image::{self, Loaded};
use super::vdso;

/// Where the kernel image lies in the child.
const IMAGE: u64 = 0x6000_0000_0000;
/// Where the cell's memory lies, in the child and in the proxy.
const WINDOW: u64 = 0x6100_0000_0000;

/// What a cell is to be.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The cell's memory: of `layout.end` bytes, all zero.
    pub memory: BorrowedFd<'a>,
    /// What lies where in it, see [`layout`].
    pub layout: Layout,
    /// Host numbers of the cell's cores.
    pub cores: &'a [u32],
    /// The program's file.
    pub program: BorrowedFd<'a>,
    /// Its arguments, the first being its name.
    pub args: &'a [CString],
    /// Its environment.
    pub env: &'a [CString],
    /// The path that was executed.
    pub path: &'a CString,
    /// The proxy's own descriptors.
    pub private_fds: Range<i32>,
    /// How long an idle core polls; zero where cores are shared with the proxy.
    pub spin: Duration,
    /// NUMA node of the memory.
    pub numa_node: u32,
    /// Whether large pages may be asked for.
    pub large_pages: bool,
    /// Whether unsupported calls are named on stderr.
    pub name_unsupported: bool,
    /// Signals that the program inherits as ignored, bit n - 1 for signal n.
    pub ignored_signals: u64,
    /// Signals that it inherits as blocked.
    pub blocked_signals: u64,
}

/// A cell that has been started.
#[derive(Debug)]
pub struct Child {
    /// The child process: the program's process id.
    pub pid: libc::pid_t,
    /// The cell's memory as the proxy sees it.
    pub region: Region,
}

/// Strings as the boot information carries them.
fn strings(plan: &Plan<'_>) -> Vec<u8> {
    let all = plan.args.iter().chain(plan.env).chain([plan.path]);
    all.flat_map(|text| text.as_bytes_with_nul().iter().copied()).collect()
}

/// The layout for a cell with these strings. `None` when it does not fit 64 bits or there are
/// too many cores.
pub fn layout(cores: u32, args: &[CString], env: &[CString], path: &CString, frame_bytes: u64) -> Option<Layout> {
    let bytes = |texts: &[CString]| texts.iter().map(|text| text.as_bytes_with_nul().len() as u64).sum::<u64>();
    let len = bytes(args) + bytes(env) + path.as_bytes_with_nul().len() as u64;
    Layout::new(cores, boot::boot_len(len), frame_bytes)
}

/// Starts the cell. Must be called by the only thread of the proxy, which must outlive the
/// cell: the child dies with it.
///
/// # Errors
/// Those of mapping and cloning.
pub fn start(plan: &Plan<'_>) -> io::Result<Child> {
    let region = map_window(plan)?;
    let loaded = image::load(image::PROCESS, IMAGE)?;
    describe(plan, &region, &loaded)?;
    let name = short_name(plan.path);
    // SAFETY: single-threaded (the caller's promise). Without CLONE_VM the child has its own
    // copy of everything but the descriptors and the working directory.
    let pid = unsafe {
        let flags = libc::CLONE_FILES | libc::CLONE_FS | libc::SIGCHLD;
        libc::syscall(libc::SYS_clone, flags, ptr::null::<u8>(), ptr::null::<u8>(), ptr::null::<u8>(), 0)
    };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => become_cell(&region, &loaded, plan.layout, &name),
        pid => {
            // SAFETY: the image was only there to be inherited; nothing refers to it here.
            unsafe { libc::munmap(ptr::without_provenance_mut(IMAGE as usize), loaded.len as usize) };
            Ok(Child { pid: pid as libc::pid_t, region })
        }
    }
}

fn map_window(plan: &Plan<'_>) -> io::Result<Region> {
    let len = plan.layout.end;
    let flags = libc::MAP_SHARED | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let at = ptr::without_provenance_mut(WINDOW as usize);
    // SAFETY: a new mapping that replaces nothing.
    let base = unsafe { libc::mmap(at, len as usize, protection, flags, plan.memory.as_raw_fd(), 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
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

/// Fills the control area.
fn describe(plan: &Plan<'_>, region: &Region, loaded: &Loaded) -> io::Result<()> {
    let too_small = || io::Error::other("the cell's memory is smaller than its layout");
    let layout = &plan.layout;
    for (index, cpu) in (0..layout.cores).zip(plan.cores) {
        let block = layout.core_block(region, index).ok_or_else(too_small)?;
        block.cpu.store(*cpu, std::sync::atomic::Ordering::Relaxed);
    }
    let text = strings(plan);
    let info = boot_info(plan, loaded, text.len() as u64)?;
    if !boot::write(region, layout, &info, &text) {
        return Err(too_small());
    }
    Layout::control(region).ok_or_else(too_small)?.initialise(layout);
    Ok(())
}

fn boot_info(plan: &Plan<'_>, loaded: &Loaded, strings_len: u64) -> io::Result<BootInfo> {
    let vdso = vdso::find();
    let mut random = [0; 64];
    // SAFETY: fills 64 bytes; the other calls only return numbers.
    let (ppid, ids) = unsafe {
        if libc::getrandom(random.as_mut_ptr().cast(), random.len(), 0) != random.len() as isize {
            return Err(io::Error::last_os_error());
        }
        let ids = [libc::getuid(), libc::geteuid(), libc::getgid(), libc::getegid()];
        (libc::getppid(), ids)
    };
    let auxiliary = Auxiliary::read()?;
    let flag = |on: bool, flag: u64| if on { flag } else { 0 };
    Ok(BootInfo {
        pid: 0,
        ppid: ppid as u64,
        ids: ids.map(u64::from),
        argc: plan.args.len() as u64,
        envc: plan.env.len() as u64,
        strings_len,
        exec_fd: plan.program.as_raw_fd() as u64,
        private_fds: [plan.private_fds.start as u64, plan.private_fds.len() as u64],
        hwcap: [auxiliary.get(libc::AT_HWCAP), auxiliary.get(libc::AT_HWCAP2)],
        clock_ticks: auxiliary.get(libc::AT_CLKTCK),
        min_sigstack: auxiliary.get(libc::AT_MINSIGSTKSZ),
        vdso: vdso.base,
        vdso_clock: vdso.clock,
        stack_limit: stack_limit(),
        random,
        numa_node: u64::from(plan.numa_node),
        spin_ns: u64::try_from(plan.spin.as_nanos()).unwrap_or(u64::MAX),
        image: [loaded.base, loaded.len],
        window: WINDOW,
        ignored_signals: plan.ignored_signals,
        blocked_signals: plan.blocked_signals,
        keep: [vdso.keep.start, vdso.keep.end - vdso.keep.start],
        memory_fd: plan.memory.as_raw_fd() as u64,
        flags: flag(plan.large_pages, FLAG_TRANSPARENT_LARGE_PAGES)
            | flag(plan.name_unsupported, FLAG_NAME_UNSUPPORTED),
        bare: 0,
    })
}

/// The auxiliary vector as the kernel made it: getauxval(3) of glibc answers AT_HWCAP with a
/// value of its own.
struct Auxiliary(Vec<u8>);

impl Auxiliary {
    fn read() -> io::Result<Self> {
        std::fs::read("/proc/self/auxv").map(Auxiliary)
    }

    fn get(&self, key: u64) -> u64 {
        let words = |pair: &[u8]| {
            let word = |at: usize| u64::from_ne_bytes(std::array::from_fn(|i| pair[at + i]));
            (word(0), word(8))
        };
        self.0.chunks_exact(16).map(words).find(|(name, _)| *name == key).map_or(0, |(_, value)| value)
    }
}

/// Soft limit of the stack in bytes.
fn stack_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: fills the structure.
    match unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) } {
        0 => limit.rlim_cur,
        _ => 8 << 20,
    }
}

/// The child's part: ends in the kernel. Only system calls from here on.
fn become_cell(region: &Region, loaded: &Loaded, layout: Layout, name: &CString) -> ! {
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
        entry(WINDOW, region.len())
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
