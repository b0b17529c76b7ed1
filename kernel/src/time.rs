//! Clocks as the program sees them (clock_gettime(2)).

use crate::abi::{Errno, SysResult, linux};
use crate::mm::user;
use crate::platform;
use crate::sched::{account, process, thread};

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// `struct timespec` and `struct timeval` alike: two 64-bit words.
pub type Pair = [i64; 2];

/// A timespec.
#[must_use]
pub fn timespec(ns: u64) -> Pair {
    [(ns / SECOND) as i64, (ns % SECOND) as i64]
}

/// A timeval.
#[must_use]
pub fn timeval(ns: u64) -> Pair {
    [(ns / SECOND) as i64, (ns % SECOND / 1000) as i64]
}

/// Nanoseconds of a timespec; more than 584 years count as 584.
///
/// # Errors
/// `EINVAL` when it is negative or not normalised.
pub fn from_timespec([seconds, ns]: Pair) -> Result<u64, Errno> {
    let valid = seconds >= 0 && (0..SECOND as i64).contains(&ns);
    if !valid {
        return Err(Errno::EINVAL);
    }
    Ok((seconds as u64).saturating_mul(SECOND).saturating_add(ns as u64))
}

/// Nanoseconds of a timeval.
///
/// # Errors
/// `EINVAL` when it is negative or not normalised.
pub fn from_timeval([seconds, us]: Pair) -> Result<u64, Errno> {
    if !(0..1_000_000).contains(&us) {
        return Err(Errno::EINVAL);
    }
    from_timespec([seconds, us * 1000])
}

/// Reads a timespec of the program.
///
/// # Errors
/// `EFAULT`, `EINVAL`.
pub fn read_timespec(at: u64) -> Result<u64, Errno> {
    from_timespec(user::read(at)?)
}

/// What clock `id` shows, in nanoseconds.
///
/// # Errors
/// `EINVAL` for a clock that is not known.
pub fn clock(id: u64) -> SysResult {
    let id = id as u32;
    match id {
        linux::CLOCK_REALTIME => Ok(platform::get().realtime()),
        linux::CLOCK_MONOTONIC => Ok(platform::get().monotonic()),
        linux::CLOCK_PROCESS_CPUTIME_ID => Ok(process::cpu_time()),
        linux::CLOCK_THREAD_CPUTIME_ID => Ok(process::own_cpu_time()),
        _ if id.cast_signed() < 0 => cpu_clock(id),
        _ => platform::get().host_clock(id),
    }
}

/// Clocks of clock_getcpuclockid(3) and pthread_getcpuclockid(3): the complement of a process
/// or thread number in the high bits, in the low three which of its times (2: on the CPU).
fn cpu_clock(id: u32) -> SysResult {
    const PER_THREAD: u32 = 4;
    const KIND: u32 = 3;
    let number = !(id.cast_signed() >> 3);
    if id & KIND == KIND {
        return Err(Errno::EINVAL);
    }
    let own = crate::boot::facts().info.pid as i32;
    if id & PER_THREAD == 0 {
        let of_us = number == 0 || number == own;
        return if of_us { Ok(process::cpu_time()) } else { Err(Errno::EINVAL) };
    }
    if number == 0 {
        return Ok(process::own_cpu_time());
    }
    let thread = thread::find(number.cast_unsigned()).ok_or(Errno::EINVAL)?;
    Ok(account::cpu_time(&thread))
}

/// A deadline on `CLOCK_MONOTONIC` for a time on clock `id`, relative or absolute.
///
/// # Errors
/// `EINVAL`, `EOPNOTSUPP` for clocks on which nobody can sleep here.
pub fn deadline(id: u64, ns: u64, absolute: bool) -> SysResult {
    let now = platform::get().monotonic();
    if !absolute {
        clock(id)?;
        return Ok(now.saturating_add(ns));
    }
    match id as u32 {
        linux::CLOCK_MONOTONIC => Ok(ns),
        linux::CLOCK_REALTIME | linux::CLOCK_TAI | linux::CLOCK_BOOTTIME => {
            Ok(now.saturating_add(ns.saturating_sub(clock(id)?)))
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Whether one can sleep on clock `id`.
///
/// # Errors
/// `EINVAL` for a clock that is not known, `EOPNOTSUPP` for one that wakes nobody.
pub fn sleeps_on(id: u64) -> Result<(), Errno> {
    const BOOTTIME_ALARM: u32 = linux::CLOCK_BOOTTIME_ALARM;
    match id as u32 {
        linux::CLOCK_THREAD_CPUTIME_ID | linux::CLOCK_MONOTONIC_RAW => Err(Errno::EOPNOTSUPP),
        linux::CLOCK_REALTIME_COARSE | linux::CLOCK_MONOTONIC_COARSE => Err(Errno::EOPNOTSUPP),
        // They would wake the machine.
        linux::CLOCK_REALTIME_ALARM | BOOTTIME_ALARM => Err(Errno::EOPNOTSUPP),
        _ => clock(id).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timespecs_are_checked() {
        assert_eq!(from_timespec([1, 5]), Ok(SECOND + 5));
        assert_eq!(from_timespec([0, SECOND as i64]), Err(Errno::EINVAL));
        assert_eq!(from_timespec([-1, 0]), Err(Errno::EINVAL));
        assert_eq!(from_timespec([i64::MAX, 0]), Ok(u64::MAX));
        assert_eq!(from_timeval([0, 1_000_000]), Err(Errno::EINVAL));
        assert_eq!(timeval(SECOND + 2_500), [1, 2]);
    }
}
