//! System calls: from the number to whoever answers.

mod comm;
mod exec;
pub mod identity;
pub mod limits;
mod marshal;
mod memory;
mod named;
mod others;
pub mod proc_file;
mod process_vm;
mod procfs;
mod renewed;
mod scheduling;
pub mod signalfd;
mod signals;
mod special;
mod threads;
mod times;
mod transfer;

pub use exec::look_for_successor;
pub use procfs::known_to_linux;

use core::sync::atomic::Ordering;

use shm_ipc::calls::{self, Handling, private};
use shm_ipc::control::Cause;

use crate::abi::{Errno, SysResult};
use crate::arch::TrapFrame;
use crate::forward;
use crate::sched::signal::{self, Restart};
use crate::sched::thread::Thread;
use crate::sched::{this_core, vfork};

const RT_SIGRETURN: u64 = 15;

/// Answers the system call whose arguments are in the thread's registers.
pub fn dispatch(thread: &Thread) {
    // SAFETY: the thread's own registers, within its own system call; no other reference to
    // them is alive while this one is used.
    let frame = unsafe { &mut *thread.frame() };
    // Linux looks at the lower half only.
    let (nr, args) = (frame.rax & u64::from(u32::MAX), frame.args());
    thread.own.interrupted.set(None);
    this_core().block.count_call(nr);
    if nr == RT_SIGRETURN {
        this_core().count(Cause::LocalCall);
        signal::sigreturn(&crate::sched::thread::current_arc());
        return;
    }
    let result = call(nr, args);
    if result == Err(Errno(private::CHILD_GONE)) {
        // It was killed from outside. Its parent, which so has its thread again, learns how from wait4.
        let _ = vfork::end(thread);
        return;
    }
    let result = interruption(thread, nr, result);
    // SAFETY: as above; `call` is over.
    unsafe { (*thread.frame()).set_result(result) };
}

/// The 32-bit entry: its numbers and structures are not served.
pub fn dispatch32(thread: &Thread) {
    named::once(named::What::Entry32);
    // SAFETY: as in `dispatch`.
    unsafe { (*thread.frame()).set_result(Err(Errno::ENOSYS)) };
}

fn call(nr: u64, args: [u64; 6]) -> SysResult {
    let Some(row) = calls::lookup(nr) else { return unknown(nr, args) };
    match row.handling {
        Handling::Local => {
            if let Some(result) = others::attempt(row, args) {
                return result;
            }
            this_core().count(Cause::LocalCall);
            handler(row.nr).map_or(Err(Errno::ENOSYS), |handler| handler(args))
        }
        Handling::Forwarded => {
            renewed::before(row, args);
            if let Some(result) = transfer::attempt(row, args) {
                return result;
            }
            if let Some(result) = process_vm::attempt(row, args) {
                return result;
            }
            this_core().count(Cause::ForwardedCall);
            let answered = comm::intercept(row, args).or_else(|| signalfd::intercept(row, args));
            answered.unwrap_or_else(|| marshal::forward(row, args))
        }
        Handling::Unsupported => {
            named::once(named::What::Call(row));
            Err(Errno::ENOSYS)
        }
    }
}

/// Tacet's own calls, and numbers that Linux does not have either.
fn unknown(nr: u64, args: [u64; 6]) -> SysResult {
    match u32::try_from(nr) {
        Ok(private::RING_NOP) => {
            this_core().count(Cause::ForwardedCall);
            forward::Request::new(private::RING_NOP, [0; 6]).run().result
        }
        Ok(private::RING_PROBE) => Ok(forward::probe(args[0].min(10_000_000))),
        _ => Err(Errno::ENOSYS),
    }
}

/// A call that a signal interrupted may have to be done again.
fn interruption(thread: &Thread, nr: u64, result: SysResult) -> SysResult {
    if result != Err(Errno::EINTR) || thread.own.interrupted.get().is_some() {
        return result;
    }
    match restart_class(nr) {
        Some(restart) => signal::restart_or_fail(thread, nr, restart),
        None => {
            thread.attention.store(true, Ordering::SeqCst);
            result
        }
    }
}

/// signal(7), "Interruption of system calls and library functions by signal handlers".
fn restart_class(nr: u64) -> Option<Restart> {
    match nr {
        // close(2) is never done again.
        3 => None,
        // poll, select, pause, nanosleep, semop, sigsuspend, sigtimedwait, clock_nanosleep,
        // epoll_wait, pselect6, ppoll, epoll_pwait, epoll_pwait2.
        7 | 23 | 34 | 35 | 65 | 220 | 128 | 130 | 230 | 232 | 270 | 271 | 281 | 441 => Some(Restart::WithoutHandler),
        _ => Some(Restart::ByHandler),
    }
}

/// Answers one call.
type Handler = fn([u64; 6]) -> SysResult;

/// Who answers a call that the table calls local.
fn handler(nr: u32) -> Option<Handler> {
    Some(match nr {
        9 => memory::mmap,
        10 => memory::mprotect,
        11 => memory::munmap,
        12 => memory::brk,
        13 => signals::rt_sigaction,
        14 => signals::rt_sigprocmask,
        // rt_sigreturn has no result: `dispatch` answers it.
        15 => |_| Err(Errno::ENOSYS),
        24 => scheduling::sched_yield,
        25 => memory::mremap,
        26 => memory::msync,
        27 => memory::mincore,
        28 => memory::madvise,
        30 => special::shmat,
        34 => signals::pause,
        35 => times::nanosleep,
        36 => times::getitimer,
        37 => times::alarm,
        38 => times::setitimer,
        39 => identity::getpid,
        56 => threads::clone,
        58 => threads::vfork,
        59 => exec::execve,
        60 => threads::exit,
        62 => signals::kill,
        67 => memory::shmdt,
        96 => times::gettimeofday,
        98 => times::getrusage,
        100 => times::times,
        102 => identity::getuid,
        104 => identity::getgid,
        105 => identity::setuid,
        106 => identity::setgid,
        107 => identity::geteuid,
        108 => identity::getegid,
        110 => identity::getppid,
        113 => identity::setreuid,
        114 => identity::setregid,
        116 => identity::setgroups,
        117 => identity::setresuid,
        119 => identity::setresgid,
        122 => identity::setfsuid,
        123 => identity::setfsgid,
        127 => signals::rt_sigpending,
        128 => signals::rt_sigtimedwait,
        129 => signals::rt_sigqueueinfo,
        130 => signals::rt_sigsuspend,
        131 => signals::sigaltstack,
        135 => identity::personality,
        142 => scheduling::sched_setparam,
        143 => scheduling::sched_getparam,
        144 => scheduling::sched_setscheduler,
        145 => scheduling::sched_getscheduler,
        146 => scheduling::sched_get_priority_max,
        147 => scheduling::sched_get_priority_min,
        148 => scheduling::sched_rr_get_interval,
        149 => memory::mlock,
        150 => memory::munlock,
        151 => memory::mlockall,
        152 => memory::munlockall,
        157 => identity::prctl,
        158 => threads::arch_prctl,
        186 => identity::gettid,
        200 => signals::tkill,
        201 => times::time,
        202 => threads::futex,
        203 => scheduling::sched_setaffinity,
        204 => scheduling::sched_getaffinity,
        218 => threads::set_tid_address,
        219 => |_| Err(Errno::EINTR),
        222 => times::timer_create,
        223 => times::timer_settime,
        224 => times::timer_gettime,
        225 => times::timer_getoverrun,
        226 => times::timer_delete,
        228 => times::clock_gettime,
        229 => times::clock_getres,
        230 => times::clock_nanosleep,
        231 => threads::exit_group,
        234 => signals::tgkill,
        237 => memory::mbind,
        238 => memory::set_mempolicy,
        239 => memory::get_mempolicy,
        256 => memory::migrate_pages,
        273 => threads::set_robust_list,
        274 => threads::get_robust_list,
        279 => memory::move_pages,
        282 => signalfd::signalfd,
        289 => signalfd::signalfd4,
        297 => signals::rt_tgsigqueueinfo,
        309 => scheduling::getcpu,
        314 => scheduling::sched_setattr,
        315 => scheduling::sched_getattr,
        322 => exec::execveat,
        324 => memory::membarrier,
        325 => memory::mlock2,
        329 => memory::pkey_mprotect,
        330 => memory::pkey_alloc,
        331 => memory::pkey_free,
        334 => threads::rseq,
        435 => threads::clone3,
        _ => return None,
    })
}

/// Registers of a new thread: the creator's, with its own stack and result 0.
fn child_frame(creator: &Thread, stack: u64) -> TrapFrame {
    // SAFETY: the creator's own registers, within its own system call.
    let mut frame = unsafe { *creator.frame() };
    frame.rax = 0;
    if stack != 0 {
        frame.rsp = stack;
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_and_the_handlers_agree() {
        for row in calls::CALLS {
            assert_eq!(handler(row.nr).is_some(), row.handling == Handling::Local, "{}", row.name);
        }
    }
}
