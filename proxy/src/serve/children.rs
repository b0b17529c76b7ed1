//! The program's children: processes of Linux.
//!
//! A child begins as a *stand-in*, a copy of the proxy with descriptors, directories and limits of its
//! own, while the code that the program has the child run is still in the cell
//! (`kernel/src/sched/vfork.rs`). Calls that are forwarded for the child go on to the stand-in, through
//! a socket, and find their arguments in the cell's memory, which it maps too. When the child executes
//! something, the stand-in does, the socket closes by that, and what is left is an ordinary process.
//!
//! The proxy is the parent as far as Linux is concerned, so it waits for the program: of wait4(2) and
//! waitid(2) only the children here are visible. Linux tells of their changes by SIGCHLD, which the
//! thread that takes signals announces here before it goes on to the program.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shm_ipc::block::Block;
use shm_ipc::calls::private;
use shm_ipc::ring::Submission;

use super::call::Call;
use super::host::{self, Arg, Errno, Outcome};
use super::limits::Kept;
use super::pool::Lead;
use super::programs::Programs;
use super::{Cell as Served, Service, dispatch};
use crate::sys;

/// Bytes of a call on its way to a stand-in, and of its answer.
const MESSAGE: usize = 16;

/// Options of both calls, and of waitid alone (wait(2)).
const COMMON: i32 =
    libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED | libc::__WNOTHREAD | libc::__WCLONE | libc::__WALL;
const OF_WAITID: i32 = libc::WEXITED | libc::WNOWAIT;

/// All children that have not been waited for.
#[derive(Debug, Default)]
pub struct Children {
    /// By number; with the socket of those that still have a stand-in.
    all: Mutex<BTreeMap<i32, Option<i32>>>,
    /// Those that had ended before the program said that it waits for none.
    kept: Mutex<BTreeSet<i32>>,
    /// Counts changes: what those that wait sleep on.
    changes: AtomicU32,
}

impl Children {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Option<i32>>> {
        // Every step under this lock leaves the table whole.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        // As above.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something has happened to a child of this process. Whether `pid` is one of the program's.
    pub fn changed(&self, pid: i32) -> bool {
        self.changes.fetch_add(1, Ordering::SeqCst);
        host::wake_all(&self.changes);
        self.lock().contains_key(&pid)
    }
}

std::thread_local! {
    static HAS_CHILDREN: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread has started children.
pub fn has_children() -> bool {
    HAS_CHILDREN.get()
}

/// Starts a stand-in; gives its number.
pub fn vfork(call: &mut Call<'_, '_>) -> Outcome {
    let mut pair = [0; 8];
    let kind = i64::from(libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC);
    let [domain, kind, protocol] = [libc::AF_UNIX.into(), kind, 0].map(|word: i64| Arg::number(word as u64));
    call.inline(libc::SYS_socketpair, &[domain, kind, protocol, Arg::output(&mut pair), Arg::null(), Arg::null()])?;
    let ends = [host::u32_at(&pair, 0), host::u32_at(&pair, 4)].map(|fd| call.descriptors().hide(fd as i32));
    let (ours, theirs) = match ends {
        [Ok(ours), Ok(theirs)] => (ours, theirs),
        ends => {
            ends.iter().filter_map(|end| end.as_ref().ok()).for_each(|fd| close(*fd));
            return Err(Errno(libc::EAGAIN));
        }
    };
    let nofile = call.descriptors().limit();
    let executed = call.service.programs.current();
    let limits = call.service.limits.inherited();
    match host::fork() {
        Ok(None) => {
            close(ours);
            stand_in(call.service, theirs, nofile, Programs::new(executed), limits)
        }
        Ok(Some(pid)) => {
            HAS_CHILDREN.set(true);
            close(theirs);
            call.service.children.lock().insert(pid, Some(ours));
            Ok(pid.into())
        }
        Err(errno) => {
            close(ours);
            close(theirs);
            Err(errno)
        }
    }
}

fn close(fd: i32) {
    let _ = host::numbers(libc::SYS_close, &[fd.into()]);
}

/// The copy's life: it makes calls until it executes something or is told to end. All that it uses of
/// the proxy's state is made anew, since other threads may have had the original in their hands.
fn stand_in(original: &Service, socket: i32, nofile: (u64, u64), programs: Programs, limits: Kept) -> ! {
    let own = host::own_pid();
    take_limits(original.cell.child);
    let cell = Served {
        region: original.cell.region,
        layout: original.cell.layout,
        child: own,
        private_fds: original.cell.private_fds.clone(),
        shares_descriptors: false,
        exe: programs.current().exe,
        nofile,
        limits: Vec::new(),
        fd_table: original.cell.fd_table,
        spin: Duration::ZERO,
        exec_fd: programs.current().fd,
        bare: None,
        machine: None,
        threads: None,
        unlaunched: None,
        has_whole_job: original.cell.has_whole_job,
        fill: None,
    };
    let Some(service) = Service::apart(cell, programs, limits) else { host::exit(125) };
    let service = Arc::new(service);
    let mut block = Box::new(Block::empty());
    let mut message = [0; MESSAGE];
    loop {
        match transfer(libc::SYS_recvfrom, socket, Arg::output(&mut message)) {
            Ok(len) if len as usize == MESSAGE => {}
            // The proxy is gone, and the program with it.
            _ => host::exit(0),
        }
        let nr = host::u64_at(&message, 0) as u32;
        let (result, extra) = match block.read(&service.cell.region, &service.cell.layout, host::u64_at(&message, 8)) {
            Ok(()) => {
                let mut lead = Lead::alone(&service);
                let mut call = Call::new(nr, &block, &service, &mut lead);
                let result = dispatch::execute(&mut call);
                (result, call.extra)
            }
            Err(_) => (Err(Errno(libc::EFAULT)), 0),
        };
        let result = result.unwrap_or_else(|errno| -i64::from(errno.0));
        message[..8].copy_from_slice(&result.to_ne_bytes());
        message[8..].copy_from_slice(&extra.to_ne_bytes());
        if transfer(libc::SYS_sendto, socket, Arg::input(&message)).is_err() {
            host::exit(0);
        }
    }
}

/// Resource limits that the program has set are its process's; a child inherits them.
fn take_limits(program: i32) {
    const RESOURCES: u64 = 16;
    for resource in (0..RESOURCES).filter(|resource| *resource != libc::RLIMIT_NOFILE as u64) {
        let mut limit = [0; 16];
        let [program, this, resource] = [program as u64, 0, resource].map(Arg::number);
        let get = [program, resource, Arg::null(), Arg::output(&mut limit), Arg::null(), Arg::null()];
        if host::call(libc::SYS_prlimit64 as u32, &get).is_ok() {
            let set = [this, resource, Arg::input(&limit), Arg::null(), Arg::null(), Arg::null()];
            // Equal or lower limits are never refused.
            let _ = host::call(libc::SYS_prlimit64 as u32, &set);
        }
    }
}

/// Sends or receives one message, whole.
fn transfer(nr: i64, socket: i32, message: Arg<'_>) -> Outcome {
    let [fd, len, flags] = [socket as u64, MESSAGE as u64, libc::MSG_NOSIGNAL as u64].map(Arg::number);
    loop {
        match host::call(nr as u32, &[fd, message, len, flags, Arg::null(), Arg::null()]) {
            Err(Errno(libc::EINTR)) => {}
            other => return other,
        }
    }
}

/// Has the stand-in of a child make a call.
pub fn relay(lead: &mut Lead<'_>, service: &Service, submission: Submission) -> (Outcome, u64) {
    let gone = (Err(Errno(private::CHILD_GONE.into())), 0);
    let pid = submission.child.cast_signed();
    let Some(socket) = service.children.lock().get(&pid).copied().flatten() else { return gone };
    if let Err(errno) = lead.step_back() {
        return (Err(errno), 0);
    }
    let mut message = [0; MESSAGE];
    message[..8].copy_from_slice(&u64::from(submission.nr).to_ne_bytes());
    message[8..].copy_from_slice(&submission.block.to_ne_bytes());
    let answered = transfer(libc::SYS_sendto, socket, Arg::input(&message))
        .and_then(|_| transfer(libc::SYS_recvfrom, socket, Arg::output(&mut message)));
    if answered == Ok(MESSAGE as i64) {
        let result = host::u64_at(&message, 0) as i64;
        return (host::outcome(result), host::u64_at(&message, 8));
    }
    if let Some(entry) = service.children.lock().get_mut(&pid) {
        *entry = None;
    }
    close(socket);
    gone
}

/// The child that this process stands in for ends: exit(2), or by a signal.
pub fn end(call: &Call<'_, '_>) -> Outcome {
    if call.word(1) == 1 { sys::die_by(call.int(0)) } else { host::exit(call.int(0)) }
}

/// What the children that have been waited for have used: to Linux they are the proxy's, which has no
/// others that it waits for while the program runs.
pub fn usage(call: &Call<'_, '_>) -> Outcome {
    let mut usage = [0; 144];
    let who = Arg::number(libc::RUSAGE_CHILDREN as u64);
    let none = Arg::null;
    let args = [who, Arg::output(&mut usage), none(), none(), none(), none()];
    let result = call.inline(libc::SYS_getrusage, &args)?;
    call.copy_out(0, 0, &usage)?;
    Ok(result)
}

/// From here on the program waits for no children, or does again. What has ended under the one rule is not
/// judged by the other.
pub fn vanish(call: &Call<'_, '_>) -> Outcome {
    let children = &call.service.children;
    let mut all = children.lock();
    let ended: Vec<i32> = all.keys().copied().filter(|pid| has_ended(*pid)).collect();
    if call.word(0) == 1 {
        children.kept().extend(ended);
        return Ok(0);
    }
    for pid in ended {
        if children.kept().contains(&pid) {
            continue;
        }
        let now = i64::from(libc::WNOHANG);
        let _ = host::numbers(libc::SYS_wait4, &[pid.into(), 0, now]);
        if let Some(Some(socket)) = all.remove(&pid) {
            close(socket);
        }
    }
    Ok(0)
}

/// Whether a child only remains to be waited for.
fn has_ended(pid: i32) -> bool {
    let mut info = [0; 128];
    let how = (libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) as u64;
    let [one, id, how] = [1, pid as u64, how].map(Arg::number);
    let args = [one, id, Arg::output(&mut info), how, Arg::null(), Arg::null()];
    // `si_signo` of none is 0.
    host::call(libc::SYS_waitid as u32, &args).is_ok() && host::u32_at(&info, 0) != 0
}

/// Which children a call is about.
enum Which {
    Any,
    One(i32),
    Group(i32),
}

impl Which {
    fn includes(&self, pid: i32) -> bool {
        match *self {
            Which::Any => true,
            Which::One(one) => pid == one,
            Which::Group(group) => host::numbers(libc::SYS_getpgid, &[pid.into()]) == Ok(group.into()),
        }
    }
}

fn own_group() -> i32 {
    host::numbers(libc::SYS_getpgid, &[0]).map_or(0, |group| group as i32)
}

/// wait4(2)
pub fn wait4(call: &mut Call<'_, '_>) -> Outcome {
    let options = call.int(2);
    if options & !COMMON != 0 {
        return Err(Errno(libc::EINVAL));
    }
    let which = match call.int(0) {
        -1 => Which::Any,
        0 => Which::Group(own_group()),
        i32::MIN => return Err(Errno(libc::ESRCH)),
        group if group < 0 => Which::Group(-group),
        pid => Which::One(pid),
    };
    let (mut status, mut usage) = ([0; 4], [0; 144]);
    let now = (options | libc::WNOHANG) & !libc::__WNOTHREAD;
    let found = wait(call, &which, options, |pid| {
        let args = [pid as u64, now as u64].map(Arg::number);
        let out = [Arg::output(&mut status), Arg::output(&mut usage)];
        let found = host::call(libc::SYS_wait4 as u32, &[args[0], out[0], args[1], out[1], Arg::null(), Arg::null()])?;
        let is_over = found != 0
            && (libc::WIFEXITED(host::u32_at(&status, 0) as i32) || libc::WIFSIGNALED(host::u32_at(&status, 0) as i32));
        Ok((found != 0, is_over))
    })?;
    if let Some(pid) = found {
        call.copy_out(1, 0, &status)?;
        call.copy_out(3, 0, &usage)?;
        return Ok(pid.into());
    }
    Ok(0)
}

/// waitid(2)
pub fn waitid(call: &mut Call<'_, '_>) -> Outcome {
    const P_PIDFD: i32 = 3;
    const CODE: usize = 8;
    const PID: usize = 12;
    let options = call.int(3);
    let states = libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED;
    if options & !(COMMON | OF_WAITID) != 0 || options & states == 0 {
        return Err(Errno(libc::EINVAL));
    }
    let id = call.int(1);
    let which = match call.int(0) {
        0 => Which::Any,
        1 if id > 0 => Which::One(id),
        2 if id == 0 => Which::Group(own_group()),
        2 if id > 0 => Which::Group(id),
        P_PIDFD => Which::One(pid_of(call.fd(1)?)?),
        _ => return Err(Errno(libc::EINVAL)),
    };
    let (mut info, mut usage) = ([0; 128], [0; 144]);
    let now = (options | libc::WNOHANG) & !libc::__WNOTHREAD;
    let found = wait(call, &which, options, |pid| {
        info.fill(0);
        let [one, id, now] = [1, pid as u64, now as u64].map(Arg::number);
        let out = [Arg::output(&mut info), Arg::output(&mut usage)];
        host::call(libc::SYS_waitid as u32, &[one, id, out[0], now, out[1], Arg::null()])?;
        let is_any = host::u32_at(&info, PID + 4) != 0 || host::u32_at(&info, 0) != 0;
        let code = host::u32_at(&info, CODE) as i32;
        let is_over = matches!(code, libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED);
        Ok((is_any, is_over && options & libc::WNOWAIT == 0))
    })?;
    if found.is_some() {
        call.extra |= 1;
        call.copy_out(4, 0, &usage)?;
    } else {
        info.fill(0);
    }
    call.copy_out(2, 0, &info)?;
    Ok(0)
}

/// The process that a descriptor of pidfd_open(2) is about.
fn pid_of(fd: i32) -> Result<i32, Errno> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).map_err(|_| Errno(libc::EBADF))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    line.and_then(|pid| pid.trim().parse().ok()).ok_or(Errno(libc::EBADF))
}

/// Looks for a change of the children in question until there is one: its number, `None` when there is
/// none and the program does not want to wait. `look` asks Linux about one child: whether there is a
/// change, and whether the child is over and so forgotten.
fn wait(
    call: &mut Call<'_, '_>,
    which: &Which,
    options: i32,
    mut look: impl FnMut(i32) -> Result<(bool, bool), Errno>,
) -> Result<Option<i32>, Errno> {
    let children = &call.service.children;
    let mut interrupted = false;
    loop {
        let changes = children.changes.load(Ordering::SeqCst);
        let candidates: Vec<i32> = children.lock().keys().copied().filter(|pid| which.includes(*pid)).collect();
        if candidates.is_empty() {
            return Err(Errno(libc::ECHILD));
        }
        for pid in candidates {
            let (is_any, is_over) = match look(pid) {
                // Somebody else has waited for it.
                Err(Errno(libc::ECHILD)) => (false, true),
                other => other?,
            };
            if is_over && let Some(Some(socket)) = children.lock().remove(&pid) {
                close(socket);
            }
            let is_kept = if is_over { children.kept().remove(&pid) } else { children.kept().contains(&pid) };
            call.extra |= if is_any && is_kept { private::CHILD_KEPT } else { 0 };
            if is_any {
                return Ok(Some(pid));
            }
        }
        if options & libc::WNOHANG != 0 {
            return Ok(None);
        }
        if interrupted {
            return Err(Errno(libc::EINTR));
        }
        let wait = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as u64;
        let [wait, changes] = [wait, changes.into()].map(Arg::number);
        let args = [Arg::word(&children.changes), wait, changes, Arg::null(), Arg::null(), Arg::null()];
        // EAGAIN: something has changed since. After EINTR one more look: Linux, too, prefers a child.
        interrupted = call.blocking(libc::SYS_futex, &args) == Err(Errno(libc::EINTR));
    }
}
