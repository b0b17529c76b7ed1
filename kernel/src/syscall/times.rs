//! Clocks, sleeping, alarms.

use crate::abi::{Errno, SysResult, linux};
use crate::mm::user;
use crate::sched::thread::current_arc;
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
        let user = process::cpu_time() / tick;
        user::write(args[0], &[user, 0, 0, 0])?;
    }
    Ok(platform::get().monotonic() / tick)
}

/// getrusage(2)
pub fn getrusage(args: [u64; 6]) -> SysResult {
    const SELF: i32 = 0;
    const CHILDREN: i32 = -1;
    const THREAD: i32 = 1;
    let used = match args[0] as i32 {
        SELF => process::cpu_time(),
        THREAD => process::own_cpu_time(),
        CHILDREN => 0,
        _ => return Err(Errno::EINVAL),
    };
    let mut usage = [0i64; 18];
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
    let ns = time::read_timespec(at)?;
    sleep(clock, ns, flags & u64::from(linux::TIMER_ABSTIME) != 0, left)
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

fn itimerval((left, interval): (u64, u64)) -> [Pair; 2] {
    // A timer that is on never shows zero.
    let left = if left != 0 { left.max(1000) } else { 0 };
    [time::timeval(interval), time::timeval(left)]
}

/// getitimer(2)
pub fn getitimer(args: [u64; 6]) -> SysResult {
    if args[0] != ITIMER_REAL {
        return Err(Errno::EINVAL);
    }
    user::write(args[1], &itimerval(process::alarm()))?;
    Ok(0)
}

/// setitimer(2)
pub fn setitimer(args: [u64; 6]) -> SysResult {
    if args[0] != ITIMER_REAL {
        return Err(Errno::EINVAL);
    }
    let [interval, value]: [Pair; 2] = if args[1] == 0 { [[0; 2]; 2] } else { user::read(args[1])? };
    let (interval, value) = (time::from_timeval(interval)?, time::from_timeval(value)?);
    let old = process::set_alarm(value, interval);
    if args[2] != 0 {
        user::write(args[2], &itimerval(old))?;
    }
    Ok(0)
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
