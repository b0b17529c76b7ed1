//! Processes: groups, signals, other processes' memory, and being stopped.
//!
//! The program's process is the cell's child, but its place among other processes is the
//! proxy's: the launcher waits for the proxy, the terminal's foreground group is the proxy's,
//! and the child sits in a group of its own so that a terminal's signals reach it through the
//! proxy only. Questions about the program's group and session are therefore about the proxy's.

use shm_ipc::calls::prctl;

use super::arguments::vectors;
use super::call::Call;
use super::files::LARGE_BYTES;
use super::host::{self, Arg, Errno, Outcome};
use super::{fill, peers};

/// Longest line that the kernel may have printed.
const MOST_NOTICE: u64 = 4096;

/// `struct iovec`
const IOVEC: u64 = 16;

/// `siginfo_t`
const SIGINFO: usize = 128;

/// getpgid, getsid, getpriority (pid at `at`), setpgid: "myself" is the proxy.
pub fn of_process(call: &Call<'_, '_>, at: usize) -> Outcome {
    let mut args: [i64; 3] = std::array::from_fn(|index| call.word(index) as i64);
    if call.is_own(call.int(at)) {
        args[at] = 0;
    }
    if i64::from(call.nr) == libc::SYS_setpgid && call.is_own(call.int(1)) {
        args[1] = 0;
    }
    host::numbers(i64::from(call.nr), &args)
}

/// getpriority, setpriority, ioprio_get, ioprio_set: of a process, a group or a user; "myself" is the
/// proxy, whichever of its threads makes the call.
pub fn priority(call: &Call<'_, '_>) -> Outcome {
    let is_io = matches!(i64::from(call.nr), libc::SYS_ioprio_get | libc::SYS_ioprio_set);
    // PRIO_PROCESS, IOPRIO_WHO_PROCESS
    let of_one = call.int(0) == i32::from(is_io);
    let who = if of_one && call.is_own(call.int(1)) { i64::from(host::own_pid()) } else { call.word(1) as i64 };
    host::numbers(i64::from(call.nr), &[call.word(0) as i64, who, call.word(2) as i64])
}

/// Whether a call that the kernel answers for the program is meant for Linux: of a child that this process
/// stands in for, or about another process than the program's.
pub fn is_of_others(call: &Call<'_, '_>, nr: i64) -> bool {
    match nr {
        libc::SYS_setuid | libc::SYS_setgid | libc::SYS_setreuid | libc::SYS_setregid => call.service.stands_in,
        libc::SYS_setresuid | libc::SYS_setresgid | libc::SYS_setgroups => call.service.stands_in,
        libc::SYS_setfsuid | libc::SYS_setfsgid => call.service.stands_in,
        libc::SYS_getuid | libc::SYS_getgid | libc::SYS_geteuid | libc::SYS_getegid => call.service.stands_in,
        libc::SYS_prctl => call.service.stands_in && prctl::is_of_a_process(call.word(0)),
        libc::SYS_sched_setparam | libc::SYS_sched_getparam | libc::SYS_sched_setscheduler => is_others(call),
        libc::SYS_sched_getscheduler | libc::SYS_sched_rr_get_interval | libc::SYS_sched_getattr => is_others(call),
        libc::SYS_sched_setaffinity | libc::SYS_sched_getaffinity => is_others(call),
        _ => false,
    }
}

/// Whether the process that the first argument names is another than the program's, or the child's own.
fn is_others(call: &Call<'_, '_>) -> bool {
    call.service.stands_in || !(call.is_own(call.int(0)) || call.int(0) == host::own_pid())
}

/// kcmp(2): the program's descriptors are the proxy's; for all else "myself" stays the cell's process.
pub fn kcmp(call: &Call<'_, '_>) -> Outcome {
    const KCMP_FILE: i32 = 0;
    let own = |at: usize| {
        let pid = call.int(at);
        if pid != 0 && call.is_own(pid) && call.int(2) == KCMP_FILE { host::own_pid() } else { pid }
    };
    if call.int(2) == KCMP_FILE {
        for (pid, fd) in [(0, 3), (1, 4)] {
            if call.is_own(call.int(pid)) {
                call.fd(fd)?;
            }
        }
    }
    let args = [own(0).into(), own(1).into(), call.int(2).into(), call.word(3) as i64, call.word(4) as i64];
    host::numbers(libc::SYS_kcmp, &args)
}

/// process_vm_readv and process_vm_writev: local pieces in span 1, the other side's array of
/// iovecs in span 3.
pub fn process_vm(call: &mut Call<'_, '_>) -> Outcome {
    let remote_count = call.word(4);
    let is_bare = call.service.cell.bare.is_some();
    if call.int(0) == host::own_pid() && !is_bare {
        return Err(Errno(libc::EPERM));
    }
    if remote_count.checked_mul(IOVEC) != Some(call.len(3)) {
        return Err(Errno(libc::EFAULT));
    }
    let remote = call.copy_in(3, call.len(3))?;
    let outcome = copy(call, &remote);
    let there = remote.chunks_exact(IOVEC as usize).map(|piece| host::u64_at(piece, 8)).fold(0, u64::saturating_add);
    let wanted = there.min(vectors(call, 1)?.total());
    let is_whole = match outcome {
        Ok(copied) => copied as u64 >= wanted,
        Err(errno) => errno != Errno(libc::EFAULT),
    };
    let (pid, write) = (call.int(0), i64::from(call.nr) == libc::SYS_process_vm_writev);
    if !is_whole && fill::ask(call, pid, write, &remote, wanted) {
        return copy(call, &remote);
    }
    outcome
}

fn copy(call: &mut Call<'_, '_>, remote: &[u8]) -> Outcome {
    if call.service.cell.bare.is_some()
        && let Some(outcome) = peers::copy(call, remote)
    {
        return outcome;
    }
    let local = vectors(call, 1)?;
    let may_take_long = local.total() > LARGE_BYTES;
    let args = [
        Arg::number(call.word(0)),
        Arg::vectors(&local),
        Arg::number(local.count()),
        Arg::input(remote),
        Arg::number(call.word(4)),
        Arg::number(call.word(5)),
    ];
    call.make(i64::from(call.nr), &args, may_take_long)
}

/// Sends signal a1 to process a0, with the siginfo in span 2 if there is one.
pub fn signal(call: &Call<'_, '_>) -> Outcome {
    let (pid, signal) = (i64::from(call.int(0)), i64::from(call.int(1)));
    if pid == i64::from(host::own_pid()) {
        // The proxy is not there for the program.
        return Err(Errno(libc::ESRCH));
    }
    match (call.has_buffer(2), i64::from(call.int(3))) {
        (false, 0) => return host::numbers(libc::SYS_kill, &[pid, signal]),
        (false, tid) => return host::numbers(libc::SYS_tgkill, &[pid, tid, signal]),
        (true, _) => {}
    }
    let info = call.structure::<SIGINFO>(2)?;
    let (pid, signal) = (Arg::number(pid as u64), Arg::number(signal as u64));
    call.inline(libc::SYS_rt_sigqueueinfo, &[pid, signal, Arg::input(&info), Arg::null(), Arg::null(), Arg::null()])
}

/// Prints a line of the kernel's, in one write so that lines of several ranks do not mix.
pub fn notice(call: &mut Call<'_, '_>) -> Outcome {
    let len = call.word(1).min(call.len(0)).min(MOST_NOTICE);
    let mut line = b"tacet: ".to_vec();
    line.extend(call.copy_in(0, len)?);
    line.push(b'\n');
    let (stderr, len) = (Arg::number(libc::STDERR_FILENO as u64), Arg::number(line.len() as u64));
    let args = [stderr, Arg::input(&line), len, Arg::null(), Arg::null(), Arg::null()];
    call.blocking(libc::SYS_write, &args)
}

/// The program stands still (`kernel/src/sched/stop.rs`): stops the proxy, so that whoever waits for it
/// sees that. The program goes on when the proxy does.
pub fn stop() -> Outcome {
    // To this very thread, which so stops before it makes the next call.
    let (pid, tid) = (i64::from(host::own_pid()), i64::from(host::own_tid()));
    host::numbers(libc::SYS_tgkill, &[pid, tid, i64::from(libc::SIGSTOP)])
}
