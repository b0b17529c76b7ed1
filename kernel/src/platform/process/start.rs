//! From the proxy's forked child to the first instruction of the kernel proper.
//!
//! The child comes here with the proxy's whole address space still mapped. It keeps the image,
//! the window and the host's vDSO, and drops everything else.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use shm_ipc::boot::BootInfo;
use shm_ipc::region::Region;

use super::host::{self, nr};
use super::{PROCESS, Process, fence, sites, traps};
use crate::abi::Errno;
use crate::arch;
use crate::boot::{self, Facts};
use crate::sched::core::Core;
use crate::{mm, sched};

/// End of the addresses of a process with four-level page tables.
const HOST_END: u64 = 0x7fff_ffff_f000;

/// Cores that are ready for the program.
static READY: AtomicU32 = AtomicU32::new(0);
/// Set when the fence is up and all may begin.
static BEGIN: AtomicBool = AtomicBool::new(false);

/// The kernel's first step: finds the cell's memory.
///
/// # Safety
/// The proxy's child calls this once, with the cell's memory of `len` bytes mapped at `window`.
#[must_use]
pub unsafe fn read(window: u64, len: u64) -> Option<&'static Facts> {
    let base = NonNull::new(window as *mut u8)?;
    // SAFETY: the caller's promise; the mapping is never taken away.
    boot::read(unsafe { Region::new(base, len) })
}

/// The second step, with a heap in place: takes the process over and starts all cores. Ends
/// with the first of them in the scheduler.
pub fn enter(facts: &'static Facts) -> ! {
    let info = facts.info;
    drop_proxy(&info, facts.region.len());
    let platform = Process::create(info, facts.region);
    boot::prepare(facts, platform);
    traps::prepare_timers(facts.layout.cores);
    if let Err(errno) = start_cores(&info) {
        panic!("the host does not let a cell be set up: {errno}");
    }
    let first = boot::first_thread(facts);
    sched::switch::start_core(&sched::cores()[0], Some(first))
}

/// Unmaps all that was the proxy's.
fn drop_proxy(info: &BootInfo, window_len: u64) {
    let mut kept = [(info.image[0], info.image[1]), (info.window, window_len), (info.keep[0], info.keep[1])];
    kept.sort_unstable();
    let mut from = 0;
    for (start, len) in kept {
        unmap(from, start);
        from = from.max(start + len);
    }
    unmap(from, HOST_END);
}

fn unmap(from: u64, to: u64) {
    if from < to {
        // SAFETY: neither the image, nor the window, nor the vDSO lie there; the boot stack is
        // part of the image.
        let gone = unsafe { host::munmap(from, to - from) };
        assert!(gone.is_ok(), "the proxy's memory can't be unmapped: {gone:?}");
    }
}

fn start_cores(info: &BootInfo) -> Result<(), Errno> {
    arch::share_ring();
    traps::install()?;
    for core in &sched::cores()[1..] {
        start_thread(core)?;
    }
    prepare(&sched::cores()[0])?;
    let all = sched::cores().len() as u32;
    while READY.load(Ordering::SeqCst) < all {
        yield_host();
    }
    fence::put_up(info.image[0], info.image[1], info.private_fds[0])?;
    BEGIN.store(true, Ordering::SeqCst);
    Ok(())
}

fn yield_host() {
    // SAFETY: no effect on memory.
    let _ = unsafe { host::call(nr::SCHED_YIELD, [0; 6]) };
}

/// What every core does for itself.
fn prepare(core: &'static Core) -> Result<(), Errno> {
    // SAFETY: no arguments.
    let tid = unsafe { host::call(nr::GETTID, [0; 6])? };
    core.block.host_tid.store(tid as u32, Ordering::Relaxed);
    let mut mask = [0u64; 16];
    mask[core.cpu as usize / 64 % 16] = 1 << (core.cpu % 64);
    let bytes = size_of_val(&mask) as u64;
    // SAFETY: the host reads the mask.
    unsafe { host::call(nr::SCHED_SETAFFINITY, [0, bytes, mask.as_ptr() as u64, 0, 0, 0])? };
    traps::create_timer(core.index, tid)?;
    traps::prepare_core(core)?;
    if let Some(process) = PROCESS.get() {
        sites::prepare(core, process.fast_segments, process.info.user_end);
    }
    READY.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

core::arch::global_asm!(
    r"
    .globl tacet_start_thread
tacet_start_thread:                 # (rdi: flags, rsi: stack top, rdx: function, rcx: argument)
    mov r12, rdx
    mov r13, rcx
    xor edx, edx
    xor r10d, r10d
    xor r8d, r8d
    mov eax, 56
    syscall
    test rax, rax
    jnz 1f
    xor ebp, ebp
    mov rdi, r13
    call r12
    ud2
1:  ret
"
);

unsafe extern "C" {
    fn tacet_start_thread(flags: u64, stack: u64, function: u64, core: u64) -> i64;
}

/// Starts the host's thread that is `core`.
fn start_thread(core: &'static Core) -> Result<(), Errno> {
    /// VM, FS, FILES, SIGHAND, THREAD, SYSVSEM.
    const FLAGS: u64 = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000;
    let stack = mm::kernel_pages(arch::KERNEL_STACK as u64, arch::KERNEL_STACK as u64).ok_or(Errno::ENOMEM)?;
    let top = stack as u64 + arch::KERNEL_STACK as u64;
    // SAFETY: the stack is fresh and used by the new thread only. The assembly clobbers r12 and
    // r13, which it must not for the caller: see `call_start`.
    let tid = unsafe { call_start(FLAGS, top, core) };
    crate::abi::from_raw(tid).map(|_| ())
}

/// # Safety
/// As clone(2) with a stack that nobody else uses.
unsafe fn call_start(flags: u64, top: u64, core: &'static Core) -> i64 {
    let result;
    // SAFETY: the caller's promise; all that the callee changes is named.
    unsafe {
        core::arch::asm!(
            "call {start}",
            start = sym tacet_start_thread,
            inlateout("rdi") flags => _,
            inlateout("rsi") top => _,
            inlateout("rdx") run_core as *const () as u64 => _,
            inlateout("rcx") core as *const Core as u64 => _,
            lateout("rax") result,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _, out("r12") _, out("r13") _,
        );
    }
    result
}

extern "C" fn run_core(core: &'static Core) -> ! {
    if let Err(errno) = prepare(core) {
        panic!("the host does not let core {} be set up: {errno}", core.index);
    }
    while !BEGIN.load(Ordering::SeqCst) {
        yield_host();
    }
    sched::switch::start_core(core, None)
}
