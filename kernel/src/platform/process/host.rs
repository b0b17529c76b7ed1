//! System calls of the host, made from within the kernel image: the only place in the cell
//! where one may be made (see [`super::fence`]).

use core::arch::asm;

use crate::abi::{Errno, SysResult, from_raw};

/// Numbers of `arch/x86/entry/syscalls/syscall_64.tbl` that this platform uses.
#[allow(missing_docs, reason = "names of section 2 of the manual")]
pub mod nr {
    pub const READ: u64 = 0;
    pub const WRITE: u64 = 1;
    pub const MMAP: u64 = 9;
    pub const MPROTECT: u64 = 10;
    pub const MUNMAP: u64 = 11;
    pub const RT_SIGACTION: u64 = 13;
    pub const RT_SIGPROCMASK: u64 = 14;
    pub const RT_SIGRETURN: u64 = 15;
    pub const PREAD64: u64 = 17;
    pub const PWRITE64: u64 = 18;
    pub const SCHED_YIELD: u64 = 24;
    pub const MREMAP: u64 = 25;
    pub const MSYNC: u64 = 26;
    pub const MINCORE: u64 = 27;
    pub const MADVISE: u64 = 28;
    pub const SHMAT: u64 = 30;
    pub const PRCTL: u64 = 157;
    pub const ARCH_PRCTL: u64 = 158;
    pub const GETTID: u64 = 186;
    pub const FUTEX: u64 = 202;
    pub const SCHED_SETAFFINITY: u64 = 203;
    pub const TIMER_CREATE: u64 = 222;
    pub const TIMER_SETTIME: u64 = 223;
    pub const CLOCK_GETTIME: u64 = 228;
    pub const EXIT_GROUP: u64 = 231;
    pub const TGKILL: u64 = 234;
    pub const SIGALTSTACK: u64 = 131;
    pub const PROCESS_VM_READV: u64 = 310;
    pub const PROCESS_VM_WRITEV: u64 = 311;
    pub const SECCOMP: u64 = 317;
}

/// A system call of the host.
///
/// # Safety
/// As the call itself: what it does to memory, descriptors and threads must be sound.
#[inline]
pub unsafe fn call(number: u64, args: [u64; 6]) -> SysResult {
    let result: i64;
    // SAFETY: the caller's promise. The kernel preserves everything but rax, rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as i64 => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r9") args[5],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    from_raw(result)
}

/// `MAP_SHARED`
pub const MAP_SHARED: u64 = 1;
/// `MAP_PRIVATE`
pub const MAP_PRIVATE: u64 = 2;
/// `MAP_FIXED`
pub const MAP_FIXED: u64 = 0x10;

/// mmap(2) at a fixed address.
///
/// # Safety
/// Nothing of the kernel's own lies in the range.
pub unsafe fn mmap_fixed(at: u64, len: u64, prot: u64, flags: u64, fd: u64, offset: u64) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    unsafe { call(nr::MMAP, [at, len, prot, flags | MAP_FIXED, fd, offset]).map(|_| ()) }
}

/// munmap(2)
///
/// # Safety
/// Nothing that is still used lies in the range.
pub unsafe fn munmap(at: u64, len: u64) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    unsafe { call(nr::MUNMAP, [at, len, 0, 0, 0, 0]).map(|_| ()) }
}

const FUTEX_WAKE_BITSET: u64 = 10;
const FUTEX_WAIT_BITSET: u64 = 9;
const MATCH_ANY: u32 = 0xffff_ffff;

/// Sleeps while `*word == expected`, at most until `deadline` (monotonic nanoseconds). Works
/// across processes. `true` when woken.
pub fn futex_wait(word: u64, expected: u32, deadline: Option<u64>) -> bool {
    futex_wait_for(word, expected, deadline, MATCH_ANY)
}

/// The same for wake-ups with any of `bits`.
pub fn futex_wait_for(word: u64, expected: u32, deadline: Option<u64>, bits: u32) -> bool {
    let at = deadline.map(|ns| [ns / 1_000_000_000, ns % 1_000_000_000]);
    let timeout = at.as_ref().map_or(0, |at| at.as_ptr() as u64);
    // SAFETY: the host reads the word (or fails with EFAULT) and the timespec, which lives
    // until the call is over.
    unsafe { call(nr::FUTEX, [word, FUTEX_WAIT_BITSET, u64::from(expected), timeout, 0, bits.into()]).is_ok() }
}

/// Wakes up to `count` sleepers on `word`, in any process. Gives their number.
pub fn futex_wake(word: u64, count: u32) -> u64 {
    futex_wake_for(word, count, MATCH_ANY)
}

/// The same for those that wait for any of `bits`.
pub fn futex_wake_for(word: u64, count: u32, bits: u32) -> u64 {
    // SAFETY: touches no memory of ours.
    unsafe { call(nr::FUTEX, [word, FUTEX_WAKE_BITSET, u64::from(count), 0, 0, bits.into()]).unwrap_or(0) }
}

/// clock_gettime(2) in nanoseconds.
///
/// # Errors
/// `EINVAL`
pub fn clock_gettime(id: u32) -> SysResult {
    let mut at = [0u64; 2];
    // SAFETY: the host fills the timespec.
    unsafe { call(nr::CLOCK_GETTIME, [u64::from(id), at.as_mut_ptr() as u64, 0, 0, 0, 0])? };
    Ok(at[0] * 1_000_000_000 + at[1])
}

/// Ends the process: all cores.
pub fn exit_group(status: u64) -> ! {
    loop {
        // SAFETY: ends everything.
        let _ = unsafe { call(nr::EXIT_GROUP, [status, 0, 0, 0, 0, 0]) };
    }
}
