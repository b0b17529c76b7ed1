//! Clocks, sleeping, alarms.

use shm_ipc::calls::private;
use zerocopy::FromBytes;

use crate::abi::{Errno, SysResult, linux};
use crate::forward::Request;
use crate::mm::user;
use crate::sched::posix_timer::{self, Clock, Notify};
use crate::sched::signal::SigInfo;
use crate::sched::thread::{self, current_arc};
use crate::sched::wait::{self, Wake};
use crate::sched::{process, signal};
use crate::time::{self, Pair, SECOND};
use crate::{boot, platform};

/// clock_gettime(2)
pub fn clock_gettime(args: [u64; 6]) -> SysResult {
    let now = time::clock(args[0])?;
    user::write(args[1], &time::timespec(now))?;
    Ok(0)
}

/// clock_getres(2)
pub fn clock_getres(args: [u64; 6]) -> SysResult {
    time::clock(args[0])?;
    let coarse = matches!(args[0] as u32, linux::CLOCK_REALTIME_COARSE | linux::CLOCK_MONOTONIC_COARSE);
    let resolution = if coarse { SECOND / 250 } else { 1 };
    if args[1] != 0 {
        user::write(args[1], &time::timespec(resolution))?;
    }
    Ok(0)
}

/// gettimeofday(2)
pub fn gettimeofday(args: [u64; 6]) -> SysResult {
    if args[0] != 0 {
        user::write(args[0], &time::timeval(platform::get().realtime()))?;
    }
    if args[1] != 0 {
        // struct timezone: obsolete, UTC.
        user::write(args[1], &[0u32; 2])?;
    }
    Ok(0)
}

/// time(2)
pub fn time(args: [u64; 6]) -> SysResult {
    let seconds = platform::get().realtime() / SECOND;
    if args[0] != 0 {
        user::write(args[0], &seconds)?;
    }
    Ok(seconds)
}

/// times(2)
pub fn times(args: [u64; 6]) -> SysResult {
    let tick = SECOND / boot::facts().info.clock_ticks.max(1);
    if args[0] != 0 {
        let own = process::cpu_time() / tick;
        let usage = children_usage()?;
        let ticks = |at: usize| time::from_timeval([usage[at], usage[at + 1]]).map(|ns| ns / tick);
        user::write(args[0], &[own, 0, ticks(0)?, ticks(2)?])?;
    }
    Ok(platform::get().monotonic() / tick)
}

/// `struct rusage`: times of the user's and of the system's, then fourteen counts.
type Usage = [i64; 18];

/// What children have used that were waited for.
fn children_usage() -> Result<Usage, Errno> {
    let mut request = Request::kernel(private::CHILDREN_USAGE);
    request.kernel_buffer(0, alloc::vec![0; size_of::<Usage>()]);
    request.run().result?;
    Usage::read_from_bytes(request.kernel_bytes(0)).map_err(|_| Errno::EIO)
}

/// getrusage(2)
pub fn getrusage(args: [u64; 6]) -> SysResult {
    const SELF: i32 = 0;
    const CHILDREN: i32 = -1;
    const THREAD: i32 = 1;
    let used = match args[0] as i32 {
        SELF => process::cpu_time(),
        THREAD => process::own_cpu_time(),
        CHILDREN => {
            user::write(args[1], &children_usage()?)?;
            return Ok(0);
        }
        _ => return Err(Errno::EINVAL),
    };
    let mut usage: Usage = [0; 18];
    usage[..2].copy_from_slice(&time::timeval(used));
    user::write(args[1], &usage)?;
    Ok(0)
}

/// nanosleep(2)
pub fn nanosleep(args: [u64; 6]) -> SysResult {
    let ns = time::read_timespec(args[0])?;
    sleep(u64::from(linux::CLOCK_MONOTONIC), ns, false, args[1])
}

/// clock_nanosleep(2)
pub fn clock_nanosleep(args: [u64; 6]) -> SysResult {
    let [clock, flags, at, left, ..] = args;
    let is_cpu_time = (clock as u32).cast_signed() < 0 || clock as u32 == linux::CLOCK_PROCESS_CPUTIME_ID;
    time::sleeps_on(clock)?;
    let counted = Clock::find(clock as u32)?;
    let ns = time::read_timespec(at)?;
    let absolute = flags & u64::from(linux::TIMER_ABSTIME) != 0;
    if is_cpu_time { sleep_on_cpu_time(&counted, ns, absolute, left) } else { sleep(clock, ns, absolute, left) }
}

/// Sleeps until others have used so much CPU time (`do_cpu_nanosleep` in kernel/time/posix-cpu-timers.c).
fn sleep_on_cpu_time(clock: &Clock, ns: u64, absolute: bool, left: u64) -> SysResult {
    let thread = current_arc();
    if matches!(clock, Clock::Thread(counted) if counted.tid == thread.tid) {
        // One's own time stands still while one sleeps.
        return Err(Errno::EINVAL);
    }
    let deadline = if absolute { ns } else { clock.now().saturating_add(ns) };
    while clock.now() < deadline {
        if wait::sleep_until(&thread, Some(clock.look_at(deadline))) != Wake::Timeout {
            if !absolute && left != 0 {
                user::write(left, &time::timespec(deadline.saturating_sub(clock.now())))?;
            }
            return Err(Errno::EINTR);
        }
    }
    Ok(0)
}

fn sleep(clock: u64, ns: u64, absolute: bool, left: u64) -> SysResult {
    let deadline = time::deadline(clock, ns, absolute)?;
    if wait::sleep_until(&current_arc(), Some(deadline)) == Wake::Timeout {
        return Ok(0);
    }
    if !absolute && left != 0 {
        let rest = deadline.saturating_sub(platform::get().monotonic());
        user::write(left, &time::timespec(rest))?;
    }
    Err(Errno::EINTR)
}

const ITIMER_REAL: u64 = 0;
const ITIMER_VIRTUAL: u64 = 1;
const ITIMER_PROF: u64 = 2;

fn itimerval((left, interval): (u64, u64)) -> [Pair; 2] {
    // A timer that is on never shows zero.
    let left = if left != 0 { left.max(1000) } else { 0 };
    [time::timeval(interval), time::timeval(left)]
}

/// getitimer(2)
pub fn getitimer(args: [u64; 6]) -> SysResult {
    let now = match u64::from(args[0] as u32) {
        ITIMER_REAL => process::alarm(),
        which @ (ITIMER_VIRTUAL | ITIMER_PROF) => posix_timer::cpu_alarm((which - ITIMER_VIRTUAL) as usize),
        _ => return Err(Errno::EINVAL),
    };
    user::write(args[1], &itimerval(now))?;
    Ok(0)
}

/// setitimer(2)
pub fn setitimer(args: [u64; 6]) -> SysResult {
    let which = u64::from(args[0] as u32);
    let [interval, value]: [Pair; 2] = if args[1] == 0 { [[0; 2]; 2] } else { user::read(args[1])? };
    if which > ITIMER_PROF {
        return Err(Errno::EINVAL);
    }
    let (interval, value) = (time::from_timeval(interval)?, time::from_timeval(value)?);
    let old = match which {
        ITIMER_REAL => process::set_alarm(value, interval),
        which => posix_timer::set_cpu_alarm((which - ITIMER_VIRTUAL) as usize, value, interval),
    };
    if args[2] != 0 {
        user::write(args[2], &itimerval(old))?;
    }
    Ok(0)
}

/// `struct sigevent`: value, signal, what to do, thread.
const SIGEVENT: usize = 64;
const SIGEV_SIGNAL: u32 = 0;
const SIGEV_NONE: u32 = 1;
const SIGEV_THREAD: u32 = 2;
const SIGEV_THREAD_ID: u32 = 4;

/// timer_create(2)
pub fn timer_create(args: [u64; 6]) -> SysResult {
    let [clock, event, out, ..] = args;
    let event: Option<[u8; SIGEVENT]> = if event == 0 { None } else { Some(user::read(event)?) };
    let clock = Clock::find(clock as u32)?;
    let Some(event) = event else {
        let id = posix_timer::create(clock, |id| {
            Notify::Process(SigInfo::timer(signal::number::ALRM, id, u64::from(id.cast_unsigned())))
        })?;
        return written(out, id);
    };
    let word = |at: usize| u32::from_le_bytes([event[at], event[at + 1], event[at + 2], event[at + 3]]);
    let value = u64::from(word(4)) << 32 | u64::from(word(0));
    let (signal, how, tid) = (word(8), word(12), word(16));
    let is_signal = (1..=u32::from(signal::number::MAX)).contains(&signal);
    let thread = match how {
        SIGEV_NONE => return written(out, posix_timer::create(clock, |_| Notify::Nothing)?),
        SIGEV_SIGNAL | SIGEV_THREAD if is_signal => None,
        // The thread bit beside the signal's 0.
        SIGEV_THREAD_ID if is_signal => Some(thread::find(tid).ok_or(Errno::EINVAL)?),
        _ => return Err(Errno::EINVAL),
    };
    let id = posix_timer::create(clock, |id| {
        let info = SigInfo::timer(signal as u8, id, value);
        match thread {
            Some(thread) => Notify::Thread(info, thread),
            None => Notify::Process(info),
        }
    })?;
    written(out, id)
}

/// Tells the program the number of its new timer.
fn written(out: u64, id: i32) -> SysResult {
    if let Err(errno) = user::write(out, &id) {
        posix_timer::delete(id)?;
        return Err(errno);
    }
    Ok(0)
}

fn itimerspec((left, interval): (u64, u64)) -> [Pair; 2] {
    [time::timespec(interval), time::timespec(left)]
}

/// timer_settime(2)
pub fn timer_settime(args: [u64; 6]) -> SysResult {
    let [id, flags, new, old, ..] = args;
    if new == 0 {
        return Err(Errno::EINVAL);
    }
    let [interval, value]: [Pair; 2] = user::read(new)?;
    let (interval, value) = (time::from_timespec(interval)?, time::from_timespec(value)?);
    let absolute = flags & u64::from(linux::TIMER_ABSTIME) != 0;
    let before = posix_timer::set(id as i32, value, interval, absolute)?;
    if old != 0 {
        user::write(old, &itimerspec(before))?;
    }
    Ok(0)
}

/// timer_gettime(2)
pub fn timer_gettime(args: [u64; 6]) -> SysResult {
    user::write(args[1], &itimerspec(posix_timer::left(args[0] as i32)?))?;
    Ok(0)
}

/// timer_getoverrun(2)
pub fn timer_getoverrun(args: [u64; 6]) -> SysResult {
    posix_timer::overrun(args[0] as i32)
}

/// timer_delete(2)
pub fn timer_delete(args: [u64; 6]) -> SysResult {
    posix_timer::delete(args[0] as i32).map(|()| 0)
}

/// alarm(2)
pub fn alarm(args: [u64; 6]) -> SysResult {
    let (left, _) = process::set_alarm(u64::from(args[0] as u32) * SECOND, 0);
    // Rounded as Linux rounds, but never to 0 while there was one.
    let seconds = (left + SECOND / 2) / SECOND;
    Ok(if left != 0 { seconds.max(1) } else { 0 })
}

/// Waits for a signal only.
pub fn wait_for_signal() -> SysResult {
    while wait::sleep_until(&current_arc(), None) != Wake::Signal {}
    debug_assert!(signal::is_due(crate::sched::current()));
    Err(Errno::EINTR)
}
