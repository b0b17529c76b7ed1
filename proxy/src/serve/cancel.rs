//! System calls that may block and can be given up.
//!
//! The difficulty is the moment between the decision to block and the `syscall` instruction: a
//! signal that arrives there is handled, forgotten, and the call then blocks for ever. As in
//! musl's thread cancellation, the call is made by a short stub that looks at the thread's flag
//! right before the instruction, and the signal's handler moves a thread that it finds between
//! the two to the exit that returns EINTR. So a cancelled call either returns EINTR or has
//! happened and returns its result; none is lost.
//!
//! [`Registry`] knows which worker executes which token.

use std::arch::global_asm;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::host::{self, Arg, Outcome};

global_asm!(
    ".pushsection .text.tacet_serve_cancellable, \"ax\", @progbits",
    ".hidden tacet_serve_cancellable",
    ".hidden tacet_serve_cancel_begin",
    ".hidden tacet_serve_cancel_end",
    ".hidden tacet_serve_cancelled",
    ".globl tacet_serve_cancellable, tacet_serve_cancel_begin, tacet_serve_cancel_end, tacet_serve_cancelled",
    ".type tacet_serve_cancellable, @function",
    "tacet_serve_cancellable:", // rdi: flag, rsi: number, rdx: six arguments
    ".cfi_startproc",
    "push rbx",
    ".cfi_adjust_cfa_offset 8",
    ".cfi_rel_offset rbx, 0",
    "mov rbx, rdi",
    "mov rax, rsi",
    "mov r11, rdx",
    "mov rdi, [r11]",
    "mov rsi, [r11 + 8]",
    "mov rdx, [r11 + 16]",
    "mov r10, [r11 + 24]",
    "mov r8, [r11 + 32]",
    "mov r9, [r11 + 40]",
    "tacet_serve_cancel_begin:",
    "cmp dword ptr [rbx], 0",
    "jne tacet_serve_cancelled",
    "syscall",
    "tacet_serve_cancel_end:",
    "pop rbx",
    ".cfi_adjust_cfa_offset -8",
    "ret",
    ".cfi_adjust_cfa_offset 8",
    "tacet_serve_cancelled:",
    "mov rax, -4", // EINTR
    "pop rbx",
    ".cfi_adjust_cfa_offset -8",
    "ret",
    ".cfi_endproc",
    ".size tacet_serve_cancellable, . - tacet_serve_cancellable",
    ".popsection",
);

unsafe extern "C" {
    fn tacet_serve_cancellable(flag: *const AtomicU32, nr: u64, args: *const [u64; 6]) -> i64;
    fn tacet_serve_cancel_begin();
    fn tacet_serve_cancel_end();
    fn tacet_serve_cancelled();
}

/// The signal that cancels, one that neither glibc nor programs use.
pub fn signal() -> i32 {
    libc::SIGRTMAX() - 1
}

extern "C" fn handler(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: with SA_SIGINFO Linux passes the interrupted context, which the handler may change.
    let registers = unsafe { &mut (*context).uc_mcontext.gregs };
    let begin = tacet_serve_cancel_begin as *const () as usize as i64;
    let end = tacet_serve_cancel_end as *const () as usize as i64;
    let pc = &mut registers[libc::REG_RIP as usize];
    // In between the flag is not looked at any more and the call is not made yet (or, at the
    // instruction itself, would be made again).
    if (begin..end).contains(pc) {
        *pc = tacet_serve_cancelled as *const () as usize as i64;
    }
}

/// Installs the handler, for the whole process.
pub fn install() -> io::Result<()> {
    // SAFETY: the action is fully initialised; the handler only touches the context it is given,
    // and moves control within the stub alone, whose registers both exits treat alike.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        // No SA_RESTART: the interrupted call must return.
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(signal(), &raw const action, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A worker as others reach it.
#[derive(Debug)]
pub struct Target {
    cancelled: AtomicU32,
    tid: i32,
}

impl Target {
    /// The calling thread.
    pub fn current() -> Arc<Self> {
        Arc::new(Target { cancelled: AtomicU32::new(0), tid: host::own_tid() })
    }

    /// Makes system call `nr`, which [`Registry::cancel`] may end with EINTR.
    pub fn call(&self, nr: u32, args: &[Arg<'_>; 6]) -> Outcome {
        let words = host::words(args);
        // SAFETY: the stub follows the C calling convention; flag and arguments outlive the call.
        // For the pointers among the arguments see `host::call`.
        let raw = unsafe { tacet_serve_cancellable(&raw const self.cancelled, u64::from(nr), &raw const words) };
        host::outcome(raw)
    }
}

/// Which worker executes which token, of those calls that may block.
#[derive(Debug, Default)]
pub struct Registry {
    executing: Mutex<Vec<(u64, Arc<Target>)>>,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Arc<Target>)>> {
        // No step that holds the lock can leave the list half changed.
        self.executing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on `token` can be cancelled; with `already` it has been.
    pub fn enter(&self, token: u64, target: &Arc<Target>, already: bool) {
        let mut executing = self.lock();
        target.cancelled.store(u32::from(already), Ordering::Release);
        executing.push((token, Arc::clone(target)));
    }

    /// The call is over: a cancellation finds nothing any more.
    pub fn leave(&self, token: u64, target: &Arc<Target>) {
        let mut executing = self.lock();
        if let Some(at) = executing.iter().position(|(t, who)| *t == token && Arc::ptr_eq(who, target)) {
            executing.swap_remove(at);
        }
        drop(executing);
        if target.cancelled.load(Ordering::Acquire) != 0 {
            // A signal may still be on its way, sent while the lock was held and hence before now:
            // it is taken at the end of any system call, and so does not interrupt the next one.
            host::own_tid();
        }
    }

    /// Ends the call with this token; `false` when none of that name may be blocking.
    pub fn cancel(&self, token: u64) -> bool {
        let executing = self.lock();
        let Some((_, target)) = executing.iter().find(|(t, _)| *t == token) else { return false };
        target.cancelled.store(1, Ordering::Release);
        let (pid, tid, signal) = (i64::from(host::own_pid()), i64::from(target.tid), i64::from(signal()));
        // The thread is alive: it takes itself off the list before it ends.
        let _ = host::numbers(libc::SYS_tgkill, &[pid, tid, signal]);
        true
    }
}
