//! What a kernel is told at start, on whatever platform: the boot information and its strings.

use std::ffi::CString;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::limits::{self, Inherited};
use nix::sys::resource::Resource;
use shm_ipc::boot::{self, BootInfo, FLAG_NAME_UNSUPPORTED};
use shm_ipc::layout::Layout;
use shm_ipc::region::Region;

/// What a cell is to be.
#[derive(Debug)]
pub struct Plan<'a> {
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
    /// Whether unsupported calls are named on stderr.
    pub name_unsupported: bool,
    /// Signals that the program inherits as ignored, bit n - 1 for signal n.
    pub ignored_signals: u64,
    /// Signals that it inherits as blocked.
    pub blocked_signals: u64,
    /// Limits that the kernel keeps to for it.
    pub limits: &'a [Inherited],
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

/// Fills the control area.
///
/// `special` sets what only the platform knows; it finds the rest filled in.
///
/// # Errors
/// When the layout does not fit the region, or Linux refuses something.
pub fn describe(plan: &Plan<'_>, region: &Region, special: impl FnOnce(&mut BootInfo)) -> io::Result<()> {
    let too_small = || io::Error::other("the cell's memory is smaller than its layout");
    let layout = &plan.layout;
    for (index, cpu) in (0..layout.cores).zip(plan.cores) {
        let block = layout.core_block(region, index).ok_or_else(too_small)?;
        block.cpu.store(*cpu, Ordering::Relaxed);
    }
    let text = strings(plan);
    let mut info = boot_info(plan, text.len() as u64)?;
    special(&mut info);
    if !boot::write(region, layout, &info, &text) {
        return Err(too_small());
    }
    Layout::control(region).ok_or_else(too_small)?.initialise(layout);
    Ok(())
}

fn boot_info(plan: &Plan<'_>, strings_len: u64) -> io::Result<BootInfo> {
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
        vdso: 0,
        vdso_clock: 0,
        stack_limit: stack_limit(),
        random,
        numa_node: u64::from(plan.numa_node),
        spin_ns: u64::try_from(plan.spin.as_nanos()).unwrap_or(u64::MAX),
        image: [0; 2],
        window: 0,
        user_end: 0,
        ignored_signals: plan.ignored_signals,
        blocked_signals: plan.blocked_signals,
        keep: [0; 2],
        memory_fd: 0,
        flags: if plan.name_unsupported { FLAG_NAME_UNSUPPORTED } else { 0 },
        bare: 0,
        pool: [0; 2],
        pool_fd: 0,
        frames_limit: u64::MAX,
        memory_limits: [
            limits::of(plan.limits, Resource::RLIMIT_AS)[0],
            limits::of(plan.limits, Resource::RLIMIT_DATA)[0],
        ],
        time_limit: limits::of(plan.limits, Resource::RLIMIT_CPU),
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
