//! What the comparing side asks of Linux: affinity, and waiting for a child with a deadline.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
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
    if core >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: `core` was checked against the number of bits in the set.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: `set` is valid for reads of the size given.
    match unsafe { libc::sched_setaffinity(0, mem::size_of_val(&set), &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
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
    let handle = open_process(process)?;
    let mut poll = libc::pollfd { fd: handle.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let milliseconds = libc::c_int::try_from(limit.as_millis()).unwrap_or(libc::c_int::MAX);
    loop {
        // SAFETY: `poll` is one valid pollfd, and `handle` is open.
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
}
