//! What is done to threads and processes of others: moving them to other cores, ending them.

use std::io;

use super::cpu_set::CpuSet;

const WORD_BITS: usize = libc::c_ulong::BITS as usize;

/// Lets the thread `id` (0: the calling one) run on these cores alone.
///
/// Source: sched_setaffinity(2). The mask is as long as the set needs: Linux fills up what is missing.
pub fn set_affinity(id: u32, cores: &CpuSet) -> io::Result<()> {
    let id = libc::pid_t::try_from(id).map_err(io::Error::other)?;
    let length = cores.iter().last().map_or(1, |last| last / WORD_BITS + 1);
    let mut mask: Vec<libc::c_ulong> = vec![0; length];
    for core in cores.iter() {
        mask[core / WORD_BITS] |= 1 << (core % WORD_BITS);
    }
    // SAFETY: the kernel reads as many bytes as the slice has, and changes no memory of this process.
    let status = unsafe { libc::sched_setaffinity(id, size_of_val(mask.as_slice()), mask.as_ptr().cast()) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Ends a process at once (SIGKILL). That it has ended already is no error.
pub fn end(process: u32) -> io::Result<()> {
    let id = libc::pid_t::try_from(process).map_err(io::Error::other)?;
    if id <= 1 {
        // 0 and negative numbers mean groups; 1 is the system's own.
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: takes two numbers, touches no memory.
    if unsafe { libc::kill(id, libc::SIGKILL) } == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        error => Err(error),
    }
}

/// Whether this process is the superuser's.
pub fn is_root() -> bool {
    // SAFETY: takes no argument, always succeeds.
    unsafe { libc::geteuid() == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::host;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    #[test]
    fn a_moved_thread_is_where_it_was_moved_to() {
        let last = *host::allowed_cores().unwrap().last().unwrap();
        let moved = std::thread::spawn(move || {
            set_affinity(0, &CpuSet::from_iter([last])).unwrap();
            host::allowed_cores().unwrap()
        });
        assert_eq!(moved.join().unwrap(), [last]);
    }

    #[test]
    fn no_core_at_all_is_refused() {
        assert!(set_affinity(0, &CpuSet::default()).is_err());
    }

    #[test]
    fn an_ended_process_has_died_of_it() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        end(child.id()).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        assert!(end(0).is_err() && end(1).is_err());
    }
}
