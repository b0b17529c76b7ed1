//! What the load generators ask of Linux: to end with their parent, and processes without a program of their own.
//!
//! Nothing here is used by a measurement: a cell has no fork.

use std::io;

use super::memory::Anonymous;

/// Lets Linux kill this process when `parent` (more exactly: the thread of it that started this process) ends.
/// Fails when `parent` is not the parent any more.
pub fn end_with_parent(parent: u32) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a number and touches no memory.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: takes no argument, touches no memory.
    let actual = unsafe { libc::getppid() };
    // It may have ended before the line above: then nobody will tell.
    match u32::try_from(actual) == Ok(parent) {
        true => Ok(()),
        false => Err(io::Error::other("it is not the parent of this process")),
    }
}

/// A forked child that was not waited for yet.
pub struct Forked {
    pid: libc::pid_t,
}

/// Starts a child that writes to every page of the first `length` bytes of its copy of `memory` and ends.
pub fn fork_to_write(memory: &mut Anonymous, length: usize) -> io::Result<Forked> {
    // SAFETY: the child calls nothing but `touch_first`, which only writes to memory that is its own (a private
    // mapping, copied on write), and _exit: both are async-signal-safe, so it does not matter which locks other
    // threads held at the fork.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            memory.touch_first(length);
            // SAFETY: ends this process without running anything of the parent's.
            unsafe { libc::_exit(0) }
        }
        pid => Ok(Forked { pid }),
    }
}

impl Forked {
    /// Waits for its end, which must be a good one.
    pub fn wait(self) -> io::Result<()> {
        let mut status = 0;
        loop {
            // SAFETY: `status` is valid for writes; the child is ours and was not waited for.
            match unsafe { libc::waitpid(self.pid, &mut status, 0) } {
                -1 => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
                _ if status == 0 => return Ok(()),
                _ => return Err(io::Error::other(format!("a child ended with status {status:#x}"))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::memory::Pages;

    #[test]
    fn a_child_writes_to_its_own_copy() {
        let mut memory = Anonymous::map(1 << 16, Pages::Small).unwrap();
        fork_to_write(&mut memory, 1 << 16).unwrap().wait().unwrap();
        assert_eq!(memory.first_byte(), 0);
        memory.touch();
        assert_eq!(memory.first_byte(), 1);
    }
}
