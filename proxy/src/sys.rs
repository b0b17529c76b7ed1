//! System calls that no crate wraps as we need them. All unsafe code of the proxy outside
//! `boot/` and `serve/` is here.

use std::io;
use std::iter;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use shm_ipc::control::Exit;
use shm_ipc::region::Region;

fn check(result: i64) -> io::Result<i64> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Limits on the number of open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLimit {
    /// The limit in force.
    pub soft: u64,
    /// How far it may be raised.
    pub hard: u64,
}

/// The limits of this process.
pub fn file_limit() -> io::Result<FileLimit> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(FileLimit { soft, hard })
}

/// Sets the limits of this process.
pub fn set_file_limit(limit: FileLimit) -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_NOFILE, limit.soft, limit.hard)?)
}

/// The first bytes of a `siginfo_t`, in words.
pub fn siginfo_words(info: &libc::siginfo_t) -> [u64; 6] {
    // SAFETY: a siginfo_t is 128 bytes, aligned to 8, any of which can be read as a number.
    unsafe { (&raw const *info).cast::<[u64; 6]>().read() }
}

/// Descriptors that the table of this process has room for (`FDSize`, proc_pid_status(5)).
pub fn descriptor_table_size() -> io::Result<i32> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")?.trim().parse().ok());
    size.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/status has no FDSize"))
}

/// A copy of `fd` at the lowest free number from `first` on, close-on-exec.
pub fn duplicate_from(fd: &OwnedFd, first: RawFd) -> io::Result<OwnedFd> {
    let number = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(first))?;
    // SAFETY: the number was just given to us, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether a descriptor is closed by execve.
#[cfg(test)]
pub fn is_close_on_exec(fd: impl AsFd) -> io::Result<bool> {
    Ok(fcntl(fd, FcntlArg::F_GETFD)? & libc::FD_CLOEXEC != 0)
}

/// The second word of hardware capabilities that Linux tells programs.
pub fn hwcap2() -> u64 {
    // SAFETY: reads the auxiliary vector, no memory of ours.
    unsafe { libc::getauxval(libc::AT_HWCAP2) }
}

/// Asks for large pages in a part of the cell's memory, where this process maps it.
pub fn advise_large_pages(region: &Region, offset: u64, length: u64) -> io::Result<()> {
    let start = region.bytes(offset, length).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: the range is in the region, which is mapped; the advice changes no content.
    check(unsafe { libc::madvise(start.cast(), length as usize, libc::MADV_HUGEPAGE) }.into())?;
    Ok(())
}

/// How strictly memory is bound to a NUMA node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// From there while there is some, then from elsewhere.
    Preferred,
    /// From there only.
    Strict,
}

/// Binds all pages of a memfd that are still to come to a NUMA node. The policy stays with the
/// file, whoever maps it.
pub fn bind_memory(file: impl AsFd, bytes: u64, numa: u32, binding: Binding) -> io::Result<()> {
    let length = usize::try_from(bytes).map_err(io::Error::other)?;
    let (protection, flags) = (libc::PROT_NONE, libc::MAP_SHARED | libc::MAP_NORESERVE);
    // SAFETY: a new mapping at an address of Linux's choice touches nothing that exists, and
    // nobody but this function knows it.
    unsafe {
        let at = libc::mmap(ptr::null_mut(), length, protection, flags, file.as_fd().as_raw_fd(), 0);
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let bound = bind_mapping(at.cast(), length, numa, binding);
        libc::munmap(at, length);
        bound
    }
}

/// Binds all pages of a mapping that are still to come to a NUMA node.
pub fn bind_mapping(at: *const u8, length: usize, numa: u32, binding: Binding) -> io::Result<()> {
    let mode = match binding {
        Binding::Preferred => libc::MPOL_PREFERRED,
        Binding::Strict => libc::MPOL_BIND,
    };
    let mut mask = vec![0_u64; numa as usize / 64 + 1];
    mask[numa as usize / 64] |= 1 << (numa % 64);
    // mbind(2) takes one bit less than `maxnode` says.
    let bits = mask.len() * 64 + 1;
    // SAFETY: changes no content; the mask outlives the call and has `bits - 1` bits.
    check(unsafe { libc::syscall(libc::SYS_mbind, at, length, mode, mask.as_ptr(), bits, 0) })?;
    Ok(())
}

/// Has Linux promise the pages of a file of its pool of large pages. The promise stays with the
/// file, whoever maps it.
pub fn promise_memory(file: impl AsFd, bytes: u64) -> io::Result<()> {
    let length = usize::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: a new mapping at an address of Linux's choice touches nothing that exists, and
    // nobody but this function knows it.
    unsafe {
        let fd = file.as_fd().as_raw_fd();
        let at = libc::mmap(ptr::null_mut(), length, libc::PROT_NONE, libc::MAP_SHARED, fd, 0);
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        check(libc::munmap(at, length).into())?;
    }
    Ok(())
}

/// Lets the calling thread, and those that it starts, run on `cpus` only.
pub fn run_on(cpus: impl Iterator<Item = u32>) -> io::Result<()> {
    let mut mask = Vec::new();
    for cpu in cpus {
        let word = cpu as usize / 64;
        mask.resize(mask.len().max(word + 1), 0_u64);
        mask[word] |= 1 << (cpu % 64);
    }
    // SAFETY: the mask outlives the call and has as many bytes as is said.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, mask.len() * 8, mask.as_ptr()) })?;
    Ok(())
}

/// Puts the calling thread before all others that are not like it, for as long as it wants to run.
pub fn run_first() -> io::Result<()> {
    // SAFETY: the parameters outlive the call; the highest priority there is.
    check(unsafe {
        let parameters = libc::sched_param { sched_priority: libc::sched_get_priority_max(libc::SCHED_FIFO) };
        libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const parameters).into()
    })?;
    Ok(())
}

/// A lasting handle of a process; `None` when there is none with that number.
pub fn process_handle(pid: u32) -> io::Result<Option<OwnedFd>> {
    // SAFETY: takes two numbers.
    match check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }) {
        // SAFETY: the number was just given to us, nobody else owns it.
        Ok(fd) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sends a signal, with what came along with it if that is given. A process that has ended
/// meanwhile needs no signal.
pub fn signal_process(handle: &OwnedFd, signal: i32, info: Option<&libc::siginfo_t>) -> io::Result<()> {
    let info = info.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the information, if any, outlives the call.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, handle.as_raw_fd(), signal, info, 0) };
    match check(sent) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other.map(drop),
    }
}

/// Waits for the next signal that is sent to this process; all must be blocked.
pub fn next_signal() -> io::Result<(i32, libc::siginfo_t)> {
    // SAFETY: both structures are plain data for which zeroes are valid; they are filled by the
    // calls, which they outlive.
    unsafe {
        let (mut all, mut info) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        let signal = check(libc::sigwaitinfo(&raw const all, &raw mut info).into())?;
        Ok((signal as i32, info))
    }
}

/// The process that a signal came from.
pub fn sender(info: &libc::siginfo_t) -> libc::pid_t {
    // SAFETY: all bytes of the structure were filled by the kernel, whatever they mean.
    unsafe { info.si_pid() }
}

/// Sends a signal on to another process: with all that came along with it where Linux lets us
/// (rt_sigqueueinfo(2) wants a code below zero), by itself otherwise.
pub fn send_on(process: libc::pid_t, signal: i32, info: &libc::siginfo_t) -> io::Result<()> {
    let was_queued = info.si_code < 0 && info.si_code != libc::SI_TKILL;
    // SAFETY: the information outlives the call.
    let sent = unsafe {
        match was_queued {
            true => libc::syscall(libc::SYS_rt_sigqueueinfo, process, signal, ptr::from_ref(info)),
            false => libc::kill(process, signal).into(),
        }
    };
    match check(sent) {
        // It has ended meanwhile.
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other.map(drop),
    }
}

/// Ends this process by `signal`, without a core dump. Where the signal ends nothing, as for the
/// first process of a container, the status is what a shell makes of it.
pub fn die_by(signal: i32) -> ! {
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    // SAFETY: the default action runs no code of ours; the sets are filled before they are used.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut only = std::mem::zeroed();
        libc::sigemptyset(&raw mut only);
        libc::sigaddset(&raw mut only, signal);
        libc::raise(signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const only, ptr::null_mut());
        libc::_exit(128 + signal)
    }
}

/// Kills a child that has not been waited for.
pub fn kill(child: libc::pid_t) {
    send(child, libc::SIGKILL);
}

/// Sends `signal` to a child. It can't fail for one, zombies included.
pub fn send(child: libc::pid_t, signal: libc::c_int) {
    // SAFETY: takes two numbers.
    unsafe { libc::kill(child, signal) };
}

/// Waits for the end of a child, which stays a zombie so that its number stays its own.
pub fn wait_for(child: libc::pid_t) -> io::Result<Exit> {
    loop {
        // SAFETY: plain data for which zeroes are valid; filled by the call, which it outlives.
        let (waited, info) = unsafe {
            let mut info = std::mem::zeroed();
            let waited = libc::waitid(libc::P_PID, child.cast_unsigned(), &raw mut info, libc::WEXITED | libc::WNOWAIT);
            (waited, info)
        };
        match check(waited.into()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        // SAFETY: waitid fills these fields.
        let status = unsafe { info.si_status() } as u8;
        return Ok(if info.si_code == libc::CLD_EXITED { Exit::Code(status) } else { Exit::Signal(status) });
    }
}

/// Gives this thread a descriptor table of its own, with the standard streams only.
pub fn leave_descriptors() -> io::Result<()> {
    // SAFETY: descriptors are closed in this thread's new table alone; it owns none of them.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_UNSHARE) })?;
    Ok(())
}

/// A copy of this process that the usual wait calls, and so the program, do not see: it sends no
/// signal when it ends. `None` in the copy.
pub fn fork_apart() -> io::Result<Option<libc::pid_t>> {
    // A thread that was joined may be there for a moment more.
    let mut tries = 0;
    while std::fs::read_dir("/proc/self/task")?.count() != 1 {
        if tries == 100 {
            return Err(io::Error::other("more than one thread"));
        }
        tries += 1;
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    // SAFETY: this is the only thread, so the copy has everything that it may rely on, locks of
    // the allocator included. No memory is shared.
    let process = check(unsafe {
        libc::syscall(libc::SYS_clone, 0, ptr::null::<u8>(), ptr::null::<u8>(), ptr::null::<u8>(), 0)
    })?;
    Ok((process != 0).then_some(process as libc::pid_t))
}

/// Waits for a copy made by [`fork_apart`].
pub fn reap_apart(process: libc::pid_t) {
    // SAFETY: the status is not asked for.
    unsafe { libc::waitpid(process, ptr::null_mut(), libc::__WCLONE) };
}

/// Unpins what is registered with a ring of io_uring, at once: when the ring is closed, Linux does it in
/// its own time. Other files have nothing of the kind.
pub fn unpin_buffers(ring: RawFd) {
    const IORING_UNREGISTER_BUFFERS: u32 = 1;
    // SAFETY: takes no memory; nobody reads or writes through the buffers of our rings.
    unsafe { libc::syscall(libc::SYS_io_uring_register, ring, IORING_UNREGISTER_BUFFERS, ptr::null::<u8>(), 0) };
}

/// Closes all descriptors from 3 on but those in `held`.
fn close_all_but(held: &[RawFd]) -> io::Result<()> {
    let mut held: Vec<u32> = held.iter().filter_map(|fd| u32::try_from(*fd).ok()).collect();
    held.sort_unstable();
    let starts = iter::once(3).chain(held.iter().map(|fd| fd + 1));
    let ends = held.iter().map(|fd| fd.saturating_sub(1)).chain(iter::once(u32::MAX));
    for (first, last) in starts.zip(ends).filter(|(first, last)| first <= last) {
        // SAFETY: the caller, which is about to become another process, uses none of them any more.
        check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
    }
    Ok(())
}

/// Cuts this process off from everything but its parent, whose death becomes a signal, and the
/// descriptors in `held`.
pub fn become_keeper(held: &[RawFd]) -> io::Result<()> {
    let nothing = nix::fcntl::open("/dev/null", nix::fcntl::OFlag::O_RDWR, nix::sys::stat::Mode::empty())?;
    nix::unistd::dup2_stdin(&nothing)?;
    nix::unistd::dup2_stdout(&nothing)?;
    nix::unistd::dup2_stderr(&nothing)?;
    std::mem::forget(nothing);
    nix::unistd::setsid()?;
    nix::unistd::chdir("/")?;
    // The descriptors are copies of the parent's, none of which is used here any more.
    close_all_but(held)?;
    // SAFETY: the name is a string that ends.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, c"tacet-keeper".as_ptr());
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM).into())?;
    }
    Ok(())
}

/// Ends this process without any of the ceremonies of the one that it is a copy of.
pub fn exit_at_once(status: i32) -> ! {
    // SAFETY: nothing is left to be done.
    unsafe { libc::_exit(status) }
}
