//! What this process was started with, noted before Rust's runtime changes it: the runtime
//! ignores SIGPIPE and opens /dev/null where a standard descriptor is closed. The program must
//! find both as they were.
//!
//! The note is taken by a function in `.init_array`, which runs before `main` and the runtime.

use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

static IGNORED: AtomicU64 = AtomicU64::new(0);
static BLOCKED: AtomicU64 = AtomicU64::new(0);
static CLOSED: AtomicU8 = AtomicU8::new(0);

// SAFETY: the linker collects function pointers of this type in this section, libc calls them
// once, on the only thread.
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE: extern "C" fn() = note;

extern "C" fn note() {
    let mut ignored = 0;
    let mut blocked = 0u64;
    let mut closed = 0;
    // SAFETY: only asks; sigaction and the mask are filled by the kernel.
    unsafe {
        for signal in 1..=64 {
            let mut action: libc::sigaction = std::mem::zeroed();
            let known = libc::sigaction(signal, ptr::null(), &raw mut action) == 0;
            if known && action.sa_sigaction == libc::SIG_IGN {
                ignored |= 1 << (signal - 1);
            }
        }
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, ptr::null::<u64>(), &raw mut blocked, 8);
        for fd in 0..3 {
            if libc::fcntl(fd, libc::F_GETFD) == -1 {
                closed |= 1 << fd;
            }
        }
    }
    IGNORED.store(ignored, Ordering::Relaxed);
    BLOCKED.store(blocked, Ordering::Relaxed);
    CLOSED.store(closed, Ordering::Relaxed);
}

/// Signals that were ignored, bit n - 1 for signal n.
pub fn ignored_signals() -> u64 {
    IGNORED.load(Ordering::Relaxed)
}

/// Signals that were blocked.
pub fn blocked_signals() -> u64 {
    BLOCKED.load(Ordering::Relaxed)
}

/// Closes the standard descriptors that were closed: what the runtime put there is not the
/// program's. Call once, when nothing of our own writes there any more.
pub fn close_what_was_closed() {
    let closed = CLOSED.load(Ordering::Relaxed);
    for fd in 0..3 {
        if closed & 1 << fd != 0 {
            // SAFETY: the runtime's own /dev/null, which nobody owns as a value.
            unsafe { libc::close(fd) };
        }
    }
}
