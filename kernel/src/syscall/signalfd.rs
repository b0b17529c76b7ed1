//! signalfd(2): a descriptor that is Linux's, for signals that are the kernel's own.
//!
//! What Linux has under the descriptor is a timer (timerfd_create(2)), so that poll, select and epoll, which
//! are Linux's business, work with it: it has expired while a signal of the set waits, and is off otherwise. As a
//! signalfd it is never ready to be written to. Reading is answered here. The kernel follows the descriptor
//! through dup, close and their like.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use spin::Mutex;

use super::marshal;
use super::signals::take_awaited;
use crate::abi::{Errno, SysResult};
use crate::forward::Request;
use crate::mm::user;
use crate::platform;
use crate::sched::signal::{self, SigInfo, SigSet, number};
use crate::sched::{current, this_core};
use shm_ipc::calls::Call;

const READ: u32 = 0;
const WRITE: u32 = 1;
const CLOSE: u32 = 3;
const POLL: u32 = 7;
const READV: u32 = 19;
const WRITEV: u32 = 20;
const DUP: u32 = 32;
const DUP2: u32 = 33;
const FCNTL: u32 = 72;
const TIMERFD_CREATE: u32 = 283;
const TIMERFD_SETTIME: u32 = 286;
const TIMERFD_GETTIME: u32 = 287;
const DUP3: u32 = 292;
const CLOSE_RANGE: u32 = 436;

/// `struct signalfd_siginfo`
const RECORD: usize = 128;

/// A set of signals with a descriptor.
#[derive(Debug)]
struct SignalFd {
    mask: Mutex<SigSet>,
    /// Whether the timer has expired.
    shows: AtomicBool,
}

/// By descriptor; several may be the same one.
static OPEN: Mutex<BTreeMap<i32, Arc<SignalFd>>> = Mutex::new(BTreeMap::new());

/// Whether there are any: most programs have none, and their signals and calls should not pay.
static ANY: AtomicBool = AtomicBool::new(false);

/// signalfd(2)
pub fn signalfd(args: [u64; 6]) -> SysResult {
    signalfd4([args[0], args[1], args[2], 0, 0, 0])
}

/// signalfd4(2)
pub fn signalfd4(args: [u64; 6]) -> SysResult {
    const NONBLOCK: u64 = 0o4000;
    const CLOEXEC: u64 = 0o2_000_000;
    const CLOCK_MONOTONIC: u64 = 1;
    let [fd, mask, size, flags, ..] = args;
    let flags = u64::from(flags as u32);
    if size != 8 {
        return Err(Errno::EINVAL);
    }
    let mask = SigSet(user::read(mask)?).blockable();
    if flags & !(NONBLOCK | CLOEXEC) != 0 {
        return Err(Errno::EINVAL);
    }
    let fd = fd as i32;
    if fd != -1 {
        fcntl(fd, F_GETFD)?;
        let known = OPEN.lock().get(&fd).cloned().ok_or(Errno::EINVAL)?;
        *known.mask.lock() = mask;
        refresh();
        return Ok(fd as u64);
    }
    let fd = Request::new(TIMERFD_CREATE, [CLOCK_MONOTONIC, flags, 0, 0, 0, 0]).run().result?;
    let new = SignalFd { mask: Mutex::new(mask), shows: AtomicBool::new(false) };
    OPEN.lock().insert(fd as i32, Arc::new(new));
    ANY.store(true, Ordering::SeqCst);
    refresh();
    Ok(fd)
}

const F_GETFD: u64 = 1;
const F_GETFL: u64 = 3;

fn fcntl(fd: i32, command: u64) -> SysResult {
    let mut request = Request::kernel(FCNTL);
    request.set(0, fd as u64);
    request.set(1, command);
    request.run().result
}

/// Whether signals have come or gone since Linux was last shown them, and the core that shows them now (its index
/// and 1; 0: none): of two that did so at once, the one that knows less could be the last.
static STALE: AtomicBool = AtomicBool::new(false);
static SHOWING: AtomicU32 = AtomicU32::new(0);

/// Signals have come or gone: has Linux see it.
pub fn refresh() {
    if !ANY.load(Ordering::SeqCst) {
        return;
    }
    STALE.store(true, Ordering::SeqCst);
    let own = this_core().index + 1;
    while let Err(holder) = SHOWING.compare_exchange(0, own, Ordering::SeqCst, Ordering::SeqCst) {
        if holder == own {
            // The signal came while this core waits for the proxy, just below: it looks again there.
            return;
        }
        platform::get().relax();
    }
    while STALE.swap(false, Ordering::SeqCst) {
        show_all();
    }
    SHOWING.store(0, Ordering::SeqCst);
}

fn show_all() {
    let all: Vec<(i32, Arc<SignalFd>)> = OPEN.lock().iter().map(|(fd, which)| (*fd, Arc::clone(which))).collect();
    let pending = signal::pending_anywhere();
    for (fd, which) in all {
        let waits = pending.0 & which.mask.lock().0 != 0;
        if which.shows.swap(waits, Ordering::SeqCst) != waits {
            show(fd, waits);
        }
    }
}

/// Has the timer expire, or turns it off.
fn show(fd: i32, up: bool) {
    const ABSOLUTE: u64 = 1;
    const POLLIN: u64 = 1;
    const SECOND_MS: u64 = 1000;
    // struct itimerspec: no interval; a nanosecond after Linux started, or never.
    let value = [0, 0, 0, u64::from(up)];
    let mut request = Request::kernel(TIMERFD_SETTIME);
    request.set(0, fd as u64);
    request.set(1, ABSOLUTE);
    request.kernel_buffer(2, value.iter().flat_map(|word| word.to_le_bytes()).collect());
    // The descriptor may have been closed this very moment: then nobody looks.
    if request.run_in_place().result.is_ok() && up {
        // A timer in the past expires by an interrupt, a moment later.
        let mut request = Request::kernel(POLL);
        request.kernel_buffer(0, (u64::from(fd as u32) | POLLIN << 32).to_le_bytes().to_vec());
        request.set(1, 1);
        request.set(2, SECOND_MS);
        let _ = request.run_in_place();
    }
}

/// Answers a call if it is about such a descriptor; `None`: Linux is to answer it.
pub fn intercept(row: &'static Call, args: [u64; 6]) -> Option<SysResult> {
    if !ANY.load(Ordering::Relaxed) || current().lent.to().is_some() {
        return None;
    }
    let fd = args[0] as i32;
    let known = OPEN.lock().get(&fd).cloned();
    Some(match (row.nr, known) {
        (READ, Some(known)) => read(fd, &known, &[[args[1], args[2]]]),
        (READV, Some(known)) => marshal::read_iovecs(args[1], args[2]).and_then(|pieces| read(fd, &known, &pieces)),
        (WRITE | WRITEV | TIMERFD_SETTIME | TIMERFD_GETTIME, Some(_)) => Err(Errno::EINVAL),
        (CLOSE | CLOSE_RANGE | DUP | DUP2 | DUP3 | FCNTL, known) => follow(row, args, known),
        _ => return None,
    })
}

/// Makes a call that may change what descriptors mean, and keeps the books.
fn follow(row: &'static Call, args: [u64; 6], known: Option<Arc<SignalFd>>) -> SysResult {
    const F_DUPFD: u64 = 0;
    const F_DUPFD_CLOEXEC: u64 = 1030;
    const CLOSE_RANGE_CLOEXEC: u64 = 4;
    if row.nr == CLOSE {
        // Before another thread may get the number for something else.
        OPEN.lock().remove(&(args[0] as i32));
    }
    let result = marshal::forward(row, args)?;
    let mut open = OPEN.lock();
    let new = match row.nr {
        DUP | DUP2 | DUP3 => Some(result as i32),
        FCNTL if matches!(args[1], F_DUPFD | F_DUPFD_CLOEXEC) => Some(result as i32),
        CLOSE_RANGE if args[2] & CLOSE_RANGE_CLOEXEC == 0 => {
            open.retain(|fd, _| !(args[0]..=args[1]).contains(&(*fd as u64)));
            None
        }
        _ => None,
    };
    match (new, known) {
        (Some(new), Some(known)) => drop(open.insert(new, known)),
        (Some(new), None) => drop(open.remove(&new)),
        _ => {}
    }
    Ok(result)
}

/// The program is replaced: descriptors that were closed by that are forgotten.
pub fn forget_closed() {
    let all: Vec<i32> = OPEN.lock().keys().copied().collect();
    for fd in all {
        if fcntl(fd, F_GETFD).is_err() {
            OPEN.lock().remove(&fd);
        }
    }
}

fn read(fd: i32, which: &SignalFd, pieces: &[[u64; 2]]) -> SysResult {
    const NONBLOCK: u64 = 0o4000;
    let room: u64 = pieces.iter().map(|piece| piece[1]).sum();
    let most = (room / RECORD as u64).min(64) as usize;
    if most == 0 {
        return Err(Errno::EINVAL);
    }
    let mask = *which.mask.lock();
    let thread = crate::sched::thread::current_arc();
    let mut bytes = Vec::new();
    while bytes.len() < most * RECORD {
        let Some(info) = signal::dequeue_for(&thread, mask) else { break };
        bytes.extend_from_slice(&record(&info));
    }
    if bytes.is_empty() {
        if fcntl(fd, F_GETFL)? & NONBLOCK != 0 {
            return Err(Errno::EAGAIN);
        }
        bytes.extend_from_slice(&record(&take_awaited(mask, None)?));
    }
    refresh();
    let mut rest = &bytes[..];
    for [at, len] in pieces {
        let (now, later) = rest.split_at((*len as usize).min(rest.len()));
        user::copy_out(*at, now)?;
        rest = later;
    }
    Ok(bytes.len() as u64)
}

/// A `siginfo_t` as signalfd(2) tells it (`signalfd_copyinfo` in fs/signalfd.c).
fn record(info: &SigInfo) -> [u8; RECORD] {
    const PID: usize = 12;
    const UID: usize = 16;
    const TIMER: usize = 24;
    const OVERRUN: usize = 32;
    const STATUS: usize = 40;
    const INT: usize = 44;
    const PTR: usize = 48;
    const USER_TIME: usize = 56;
    const ADDRESS: usize = 72;
    let mut out = [0; RECORD];
    let mut copy = |to: usize, from: usize, len: usize| out[to..to + len].copy_from_slice(&info.0[from..from + len]);
    copy(0, 0, 4);
    copy(4, 4, 4);
    copy(8, 8, 4);
    match (info.signal(), info.code()) {
        (_, signal::SI_TIMER) => {
            copy(TIMER, 16, 4);
            copy(OVERRUN, 20, 4);
            copy(PTR, 24, 8);
            copy(INT, 24, 4);
        }
        (number::CHLD, code) if code > 0 => {
            copy(PID, 16, 4);
            copy(UID, 20, 4);
            copy(STATUS, 24, 4);
            copy(USER_TIME, 32, 16);
        }
        (number::SEGV | number::BUS | number::ILL | number::FPE | number::TRAP, code) if code > 0 => {
            copy(ADDRESS, 16, 8);
        }
        (_, code) => {
            copy(PID, 16, 4);
            copy(UID, 20, 4);
            if code < 0 && code != signal::SI_TKILL {
                copy(PTR, 24, 8);
                copy(INT, 24, 4);
            }
        }
    }
    out
}
