//! The calls that the suites measure, as safe functions.
//!
//! [`system_call`] is an instruction of this program, not the C library's, so that what is timed
//! is the path from the instruction into the kernel and back and nothing else.

use std::arch::asm;
use std::io;
use std::sync::atomic::AtomicU32;

/// Tacet's own call that is forwarded to the proxy and does nothing there.
const TACET_RING_NOP: usize = 1500;
/// Tacet's own call that times round trips over the rings inside the kernel.
const TACET_RING_PROBE: usize = 1501;

/// `getppid(2)`, which needs nothing but the kernel's own state, by the C library's function.
#[inline(always)]
pub fn getppid() -> io::Result<()> {
    // SAFETY: takes no argument, touches no memory.
    unsafe { libc::getppid() };
    Ok(())
}

/// `getpid(2)`, by the C library's function.
#[inline(always)]
pub fn getpid() -> io::Result<()> {
    // SAFETY: takes no argument, touches no memory.
    unsafe { libc::getpid() };
    Ok(())
}

/// A forwarded call that does nothing: the trap and one round trip over the rings. Linux answers
/// ENOSYS.
#[inline(always)]
pub fn tacet_ring_nop() -> io::Result<()> {
    // SAFETY: this number takes no argument and touches no memory, neither in a cell nor (where
    // it does not exist) on Linux.
    result(unsafe { system_call(TACET_RING_NOP, 0) }).map(drop)
}

/// Nanoseconds that `count` round trips over the rings take inside the kernel. Linux answers
/// ENOSYS.
pub fn tacet_ring_probe(count: usize) -> io::Result<u64> {
    // SAFETY: the one argument is a number; no memory is touched.
    result(unsafe { system_call(TACET_RING_PROBE, count) })
}

/// `sched_yield(2)`.
#[inline(always)]
pub fn sched_yield() -> io::Result<()> {
    // SAFETY: takes no argument, touches no memory.
    check(unsafe { libc::sched_yield() })
}

/// `clock_gettime(CLOCK_MONOTONIC)` through the C library, so through the vDSO where one is.
#[inline(always)]
pub fn clock_gettime() -> io::Result<()> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that lives over the call.
    check(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) })
}

/// Sleeps while `word` holds `expected`, until [`futex_wake`]; may return early.
pub fn futex_wait(word: &AtomicU32, expected: u32) {
    let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the word lives over the call; the kernel only reads it. There is no timeout.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, expected, std::ptr::null::<u8>()) };
}

/// Wakes one that sleeps on `word`.
pub fn futex_wake(word: &AtomicU32) {
    let operation = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: the address is only compared.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, 1) };
}

/// One `syscall` instruction. Returns what the kernel left in rax: −4095 … −1 are −errno.
///
/// # Safety
/// The call of this number with this argument must be sound: it must not touch memory that Rust
/// believes to be its own.
#[inline(always)]
unsafe fn system_call(number: usize, argument: usize) -> isize {
    let returned: isize;
    // SAFETY: the Linux x86-64 convention (System V psABI, appendix A.2.1): number in rax, first
    // argument in rdi, result in rax; rcx and r11 are clobbered, the other registers preserved.
    // The caller answers for the call itself.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => returned,
            in("rdi") argument,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    returned
}

fn result(returned: isize) -> io::Result<u64> {
    u64::try_from(returned).map_err(|_| {
        let errno = i32::try_from(-returned).unwrap_or(libc::EIO);
        io::Error::from_raw_os_error(errno)
    })
}

fn check(returned: libc::c_int) -> io::Result<()> {
    if returned == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tacets_own_calls_do_not_exist_on_linux() {
        let errno = |result: io::Result<u64>| result.unwrap_err().raw_os_error();
        assert_eq!(errno(tacet_ring_probe(1)), Some(libc::ENOSYS));
        assert_eq!(errno(tacet_ring_nop().map(|()| 0)), Some(libc::ENOSYS));
    }

    #[test]
    fn ordinary_calls_succeed() {
        getpid().unwrap();
        getppid().unwrap();
        sched_yield().unwrap();
        clock_gettime().unwrap();
    }
}
