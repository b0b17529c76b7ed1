//! What the comparing side asks of Linux: affinity, and waiting for a child with a deadline.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// CPUs that this thread may run on, in rising order.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: `set` is valid for writes of the size given.
    let status = unsafe { libc::sched_getaffinity(0, mem::size_of_val(&set), &mut set) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    let cores = 0..libc::CPU_SETSIZE as usize;
    // SAFETY: every index lies below CPU_SETSIZE, the number of bits in the set.
    Ok(cores.filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect())
}

/// Lets the calling thread, and what it spawns from now on, run on `core` alone.
pub fn pin_this_thread(core: usize) -> io::Result<()> {
    pin_this_thread_to(&[core])
}

/// Lets the calling thread, and what it spawns from now on, run on `cores` only.
pub fn pin_this_thread_to(cores: &[usize]) -> io::Result<()> {
    if cores.iter().any(|&core| core >= libc::CPU_SETSIZE as usize) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    for &core in cores {
        // SAFETY: `core` was checked against the number of bits in the set.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: `set` is valid for reads of the size given.
    match unsafe { libc::sched_setaffinity(0, mem::size_of_val(&set), &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Length of the clock tick that `/proc/stat` counts in, in nanoseconds.
pub fn clock_tick_ns() -> Option<f64> {
    // SAFETY: takes a number, touches no memory.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    (ticks_per_second > 0).then(|| 1e9 / ticks_per_second as f64)
}

/// The CPU that the calling thread runs on.
pub fn current_core() -> Option<usize> {
    // SAFETY: takes no argument, touches no memory of ours.
    usize::try_from(unsafe { libc::sched_getcpu() }).ok()
}

/// Waits until the child `process` has ended, at most for `limit`; tells whether it has. Does
/// not reap it: its number stays its own.
///
/// The child must not have been reaped yet, or the number may be another process's by now.
pub fn wait_for_exit(process: u32, limit: Duration) -> io::Result<bool> {
    wait_until_readable(&open_process(process)?, limit)
}

/// Ends the child `process`, which must not have been reaped yet: asks it to, and kills it when it has not ended within
/// `patience`.
pub fn end(process: u32, patience: Duration) {
    let Ok(id) = libc::pid_t::try_from(process) else { return };
    for (signal, limit) in [(libc::SIGTERM, patience), (libc::SIGKILL, patience)] {
        // SAFETY: takes two numbers, touches no memory. The number is still the child's, since nobody has reaped it.
        unsafe { libc::kill(id, signal) };
        if wait_for_exit(process, limit).unwrap_or(true) {
            return;
        }
    }
}

/// Waits until something can be read from `file`, or until its other end is closed, at most for `limit`; tells
/// whether it can.
pub fn wait_until_readable(file: &impl AsRawFd, limit: Duration) -> io::Result<bool> {
    let mut poll = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let milliseconds = libc::c_int::try_from(limit.as_millis()).unwrap_or(libc::c_int::MAX);
    loop {
        // SAFETY: `poll` is one valid pollfd, and `file` is open.
        match unsafe { libc::poll(&mut poll, 1, milliseconds) } {
            -1 => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            ready => return Ok(ready > 0),
        }
    }
}

/// Asks Linux to forget its cached copy of `file`, so that the next reading comes from the disk.
pub fn drop_cached(file: &File) -> io::Result<()> {
    // SAFETY: takes numbers only; the file is open.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Whether what lies in `folder` lies in memory only (tmpfs, ramfs).
pub fn is_in_memory(folder: &Path) -> io::Result<bool> {
    /// `RAMFS_MAGIC` of Linux's `include/uapi/linux/magic.h`.
    const RAMFS_MAGIC: libc::__fsword_t = 0x8584_58f6;
    let path = CString::new(folder.as_os_str().as_bytes())?;
    // SAFETY: an all-zero statfs is a valid value.
    let mut about: libc::statfs = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: `path` is a string that ends with zero, and `about` is valid for writes.
    match unsafe { libc::statfs(path.as_ptr(), &mut about) } {
        0 => Ok([libc::TMPFS_MAGIC, RAMFS_MAGIC].contains(&about.f_type)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// CPUs that Linux runs, in rising order (`/sys/devices/system/cpu/online`).
pub fn online_cores() -> io::Result<Vec<usize>> {
    let list = fs::read_to_string("/sys/devices/system/cpu/online")?;
    parse_list(list.trim()).ok_or_else(|| io::Error::other(format!("no list of CPUs: {list}")))
}

/// Numbers and ranges, such as `0,2-4`.
fn parse_list(list: &str) -> Option<Vec<usize>> {
    let ranges = list.split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?)
    });
    Some(ranges.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect())
}

fn open_process(process: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two numbers and touches no memory.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_pinned_thread_may_run_on_its_core_alone() {
        let last = *allowed_cores().unwrap().last().unwrap();
        let (cores, current) = std::thread::spawn(move || {
            pin_this_thread(last).unwrap();
            (allowed_cores().unwrap(), current_core())
        })
        .join()
        .unwrap();
        assert_eq!(cores, [last]);
        assert_eq!(current, Some(last));
    }

    #[test]
    fn a_core_that_is_none_is_refused() {
        assert!(pin_this_thread(1_000_000).is_err());
    }

    #[test]
    fn waiting_ends_with_the_child_or_with_the_deadline() {
        let mut quick = Command::new("true").spawn().unwrap();
        assert!(wait_for_exit(quick.id(), Duration::from_secs(60)).unwrap());
        assert!(quick.wait().unwrap().success());

        let mut slow = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(!wait_for_exit(slow.id(), Duration::from_millis(1)).unwrap());
        slow.kill().unwrap();
        slow.wait().unwrap();
    }

    #[test]
    fn a_child_that_does_not_end_when_asked_is_killed() {
        let script = "trap '' TERM; echo ready; while :; do sleep 1; done";
        let mut stubborn =
            Command::new("sh").args(["-c", script]).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let ready = stubborn.stdout.take().unwrap();
        assert!(wait_until_readable(&ready, Duration::from_secs(60)).unwrap());
        end(stubborn.id(), Duration::from_millis(50));
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&stubborn.wait().unwrap()), Some(libc::SIGKILL));
    }

    #[test]
    fn lists_of_cpus_have_numbers_and_ranges() {
        assert_eq!(parse_list("0"), Some(vec![0]));
        assert_eq!(parse_list("0,2-4,7"), Some(vec![0, 2, 3, 4, 7]));
        assert_eq!((parse_list(""), parse_list("1-x")), (None, None));
        let online = online_cores().unwrap();
        assert!(allowed_cores().unwrap().iter().all(|core| online.contains(core)));
    }

    #[test]
    fn a_disk_is_not_memory() {
        assert!(!is_in_memory(Path::new("/proc")).unwrap());
        assert!(is_in_memory(Path::new("/nonexistent/x")).is_err());
    }
}
