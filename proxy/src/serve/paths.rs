//! Calls with paths: names that mean "myself", and opening.
//!
//! To Linux "myself" is the proxy; the program means the cell's process. So `/proc/self` and
//! `/proc/thread-self` become `/proc/<pid>`, and `/proc/<pid>/exe`, which Linux would resolve to
//! the proxy's file (the cell's process has executed nothing since it was cloned), becomes the
//! program's.

use std::ffi::{CStr, CString};

use shm_ipc::calls::{self, Shape, private};

use super::arguments::{Arguments, Slot};
use super::call::Call;
use super::host::{self, Arg, Errno, Outcome};
use super::procfs;
use super::ucx;

/// Arguments of a call that are strings but not paths.
fn is_plain_text(nr: i64, index: usize) -> bool {
    match nr {
        libc::SYS_symlink | libc::SYS_symlinkat | libc::SYS_memfd_create => index == 0,
        libc::SYS_setxattr | libc::SYS_lsetxattr | libc::SYS_fsetxattr | libc::SYS_getxattr => index == 1,
        libc::SYS_lgetxattr | libc::SYS_fgetxattr | libc::SYS_removexattr => index == 1,
        libc::SYS_lremovexattr | libc::SYS_fremovexattr => index == 1,
        libc::SYS_mq_open | libc::SYS_mq_unlink => true,
        _ => false,
    }
}

/// Whether the call, with the paths it has, follows a symbolic link at their end.
fn follows(call: &Call<'_, '_>, nr: i64) -> bool {
    const NOFOLLOW: u64 = libc::O_NOFOLLOW as u64;
    let clear = |index: usize, flag: i32| call.int(index) & flag == 0;
    match nr {
        libc::SYS_open => clear(1, libc::O_NOFOLLOW),
        libc::SYS_openat => clear(2, libc::O_NOFOLLOW),
        libc::SYS_openat2 => call.structure::<8>(2).is_ok_and(|how| host::u64_at(&how, 0) & NOFOLLOW == 0),
        libc::SYS_newfstatat | libc::SYS_utimensat => clear(3, libc::AT_SYMLINK_NOFOLLOW),
        libc::SYS_statx => clear(2, libc::AT_SYMLINK_NOFOLLOW),
        libc::SYS_fchownat => clear(4, libc::AT_SYMLINK_NOFOLLOW),
        libc::SYS_faccessat2 => clear(3, libc::AT_SYMLINK_NOFOLLOW),
        libc::SYS_creat | libc::SYS_stat | libc::SYS_access | libc::SYS_faccessat | libc::SYS_truncate => true,
        libc::SYS_chmod | libc::SYS_fchmodat | libc::SYS_chown | libc::SYS_utime | libc::SYS_utimes => true,
        libc::SYS_futimesat | libc::SYS_statfs | libc::SYS_getxattr | libc::SYS_listxattr => true,
        libc::SYS_setxattr | libc::SYS_removexattr | libc::SYS_inotify_add_watch => true,
        _ => false,
    }
}

/// Rewrites the paths of a call that are about the program itself.
pub fn translate(call: &Call<'_, '_>, arguments: &mut Arguments) -> Result<(), Errno> {
    let nr = i64::from(call.nr);
    let cell = &call.service.cell;
    for index in 0..arguments.slots.len() {
        let Slot::Text(text) = &arguments.slots[index] else { continue };
        if is_plain_text(nr, index) {
            continue;
        }
        if let Some(machine) = &cell.machine
            && let Some(led) = machine.lead(directory(call, index), text)
        {
            arguments.slots[index] = Slot::Text(led);
            continue;
        }
        // Of a thread's file the content has come with the call; all else is there as the program sees it.
        let is_said = call.has_buffer(private::OWN_PROC);
        let threads = is_said.then(|| procfs::below_threads(call, directory(call, index), text.to_bytes())).flatten();
        let threads = threads.and_then(|path| CString::new(path).ok());
        let Some(mut rest) = own_proc(threads.as_deref().unwrap_or(text), cell.child) else { continue };
        if is_said {
            rest = procfs::without_thread(rest);
        }
        if names_private(call, &rest) {
            return Err(Errno(libc::ENOENT));
        }
        let path = if rest == b"exe" && follows(call, nr) {
            call.service.programs.current().exe
        } else {
            in_proc(cell.child, &rest)?
        };
        arguments.slots[index] = Slot::Text(path);
    }
    Ok(())
}

/// What the path in argument `index` is relative to.
fn directory(call: &Call<'_, '_>, index: usize) -> i32 {
    let row = calls::lookup(u64::from(call.nr));
    let shape = index.checked_sub(1).and_then(|before| row?.args.get(before));
    if shape == Some(&Shape::AtFd) { call.int(index - 1) } else { libc::AT_FDCWD }
}

/// What follows `/proc/<myself>` in a path, without the slash; `None` for any other path.
pub fn own_proc(path: &CStr, child: libc::pid_t) -> Option<Vec<u8>> {
    let bytes = path.to_bytes();
    if !bytes.starts_with(b"/") {
        return None;
    }
    let number = child.to_string();
    let names = directly(bytes, number.as_bytes())?;
    let mut names = names.into_iter();
    if names.next()? != b"proc" {
        return None;
    }
    let process = names.next()?;
    if process != b"self" && process != b"thread-self" && process != child.to_string().as_bytes() {
        return None;
    }
    let mut rest = names.collect::<Vec<_>>().join(&b'/');
    // A slash at the end asks for a directory.
    if bytes.ends_with(b"/") && !rest.is_empty() {
        rest.push(b'/');
    }
    Some(rest)
}

/// The names of a path without detours: `..` takes back the name before it, where that is a directory and
/// no link. `None` where only Linux can say what that is.
fn directly<'p>(path: &'p [u8], own: &'p [u8]) -> Option<Vec<&'p [u8]>> {
    let mut names: Vec<&[u8]> = Vec::new();
    let given = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    for name in given {
        if name != b".." {
            names.push(name);
            continue;
        }
        match names.as_slice() {
            [] => {}
            [b"proc"] => drop(names.pop()),
            // A link to the directory of a thread.
            [b"proc", b"thread-self"] => names = vec![b"proc", own, b"task"],
            [b"proc", _] | [b"proc", _, b"task" | b"fd" | b"fdinfo" | b"net"] => drop(names.pop()),
            [b"proc", _, b"task", _] => drop(names.pop()),
            _ => return None,
        }
    }
    Some(names)
}

/// Whether the rest of a path in `/proc/<pid>` is about a descriptor of the proxy's own.
fn names_private(call: &Call<'_, '_>, rest: &[u8]) -> bool {
    let mut names = rest.split(|byte| *byte == b'/');
    matches!(names.next(), Some(b"fd" | b"fdinfo"))
        && names
            .next()
            .and_then(|name| std::str::from_utf8(name).ok()?.parse().ok())
            .is_some_and(|fd| call.descriptors().is_private(fd))
}

fn in_proc(child: libc::pid_t, rest: &[u8]) -> Result<CString, Errno> {
    let mut path = format!("/proc/{child}").into_bytes();
    if !rest.is_empty() {
        path.push(b'/');
        path.extend_from_slice(rest);
    }
    CString::new(path).map_err(|_| Errno(libc::EINVAL))
}

/// readlink and readlinkat: the path is argument `at`, the buffer follows it.
pub fn readlink(call: &mut Call<'_, '_>, at: usize) -> Outcome {
    let mut arguments = Arguments::new(call)?;
    let exe = call.service.programs.current().exe;
    let own = arguments.text(at).and_then(|path| own_proc(path, call.service.cell.child));
    let target = match own.as_deref() {
        Some(b"exe") => Some(exe.into_bytes()),
        _ => ucx::target(call, at).map(String::into_bytes),
    };
    if let Some(target) = target {
        let room = call.word(at + 2).min(call.len(at + 1)) as usize;
        if room == 0 {
            return Err(Errno(libc::EINVAL));
        }
        let len = target.len().min(room);
        call.copy_out(at + 1, 0, &target[..len])?;
        return Ok(len as i64);
    }
    translate(call, &mut arguments)?;
    let args = arguments.args(call)?;
    let len = call.inline(i64::from(call.nr), &args)?;
    arguments.write_back(call)?;
    Ok(len)
}

/// open, creat, openat and openat2. Opening a FIFO waits for its other end.
pub fn open(call: &mut Call<'_, '_>) -> Outcome {
    let nr = i64::from(call.nr);
    let at = usize::from(matches!(nr, libc::SYS_openat | libc::SYS_openat2));
    let flags = match nr {
        libc::SYS_creat => libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC,
        libc::SYS_openat2 => host::u64_at(&call.structure::<8>(2)?, 0) as i32,
        _ => call.int(at + 1),
    };
    let mut arguments = Arguments::new(call)?;
    translate(call, &mut arguments)?;
    if writes(flags) && is_running(call, &arguments, at) {
        return Err(Errno(libc::ETXTBSY));
    }
    let may_block = may_wait(flags) && is_fifo(call, &arguments, at);
    let args = arguments.args(call)?;
    let mut opened = call.make(nr, &args, may_block);
    if let (Some(unlaunched), Some(path)) = (&call.service.cell.unlaunched, arguments.text(at)) {
        opened = unlaunched.opened(path, flags, opened);
    }
    if let Some(path) = arguments.text(at) {
        opened = ucx::opened(call, path, flags, opened);
    }
    let fd = call.descriptors().admit(opened?)?;
    if call.has_buffer(private::OWN_PROC) && flags & (libc::O_ACCMODE | libc::O_PATH) == libc::O_RDONLY {
        procfs::replace(call, fd, flags & libc::O_CLOEXEC)?;
    }
    Ok(fd)
}

/// truncate(2)
pub fn truncate(call: &mut Call<'_, '_>) -> Outcome {
    let mut arguments = Arguments::new(call)?;
    translate(call, &mut arguments)?;
    if is_running(call, &arguments, 0) {
        return Err(Errno(libc::ETXTBSY));
    }
    let args = arguments.args(call)?;
    call.make(i64::from(call.nr), &args, false)
}

/// Whether opening with these flags is to change a file that is there.
fn writes(flags: i32) -> bool {
    let fresh = libc::O_CREAT | libc::O_EXCL;
    let is_for_writing = flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0;
    is_for_writing && flags & (libc::O_PATH | libc::O_DIRECTORY) == 0 && flags & fresh != fresh
}

/// Whether the path is the file of the program that runs, which nobody writes to: Linux sees to that when
/// it executes one itself (`deny_write_access` in fs/exec.c).
fn is_running(call: &Call<'_, '_>, arguments: &Arguments, at: usize) -> bool {
    let Some(path) = arguments.text(at) else { return false };
    let directory = if at == 0 { libc::AT_FDCWD } else { call.int(0) };
    let none = Arg::null();
    let here = [Arg::number(directory as u64), Arg::text(path), none, Arg::number(0), none, none];
    let running = [Arg::number(call.service.programs.current().fd as u64), none, none, none, none, none];
    let file = host::file_type(libc::SYS_newfstatat, here, 2);
    let program = host::file_type(libc::SYS_fstat, running, 1);
    file.is_ok_and(|file| program.is_ok_and(|program| program.identity == file.identity))
}

/// Whether opening with these flags could wait for the other end of a FIFO.
fn may_wait(flags: i32) -> bool {
    let fresh = libc::O_CREAT | libc::O_EXCL;
    let never = libc::O_NONBLOCK | libc::O_PATH | libc::O_DIRECTORY;
    flags & never == 0 && flags & fresh != fresh && flags & libc::O_ACCMODE != libc::O_RDWR
}

fn is_fifo(call: &Call<'_, '_>, arguments: &Arguments, at: usize) -> bool {
    let Some(path) = arguments.text(at) else { return false };
    let directory = if at == 0 { libc::AT_FDCWD } else { call.int(0) };
    let args = [Arg::number(directory as u64), Arg::text(path), Arg::null(), Arg::number(0), Arg::null(), Arg::null()];
    host::file_type(libc::SYS_newfstatat, args, 2).is_ok_and(|file| file.mode & libc::S_IFMT == libc::S_IFIFO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(path: &CStr) -> Option<String> {
        own_proc(path, 42).map(|rest| String::from_utf8(rest).expect("ASCII"))
    }

    #[test]
    fn names_of_the_own_process() {
        assert_eq!(rest(c"/proc/self/maps").as_deref(), Some("maps"));
        assert_eq!(rest(c"//proc/./thread-self/fd/3").as_deref(), Some("fd/3"));
        assert_eq!(rest(c"/proc/42/exe").as_deref(), Some("exe"));
        assert_eq!(rest(c"/proc/self").as_deref(), Some(""));
        assert_eq!(rest(c"/proc/self/fd/").as_deref(), Some("fd/"));
        assert_eq!(rest(c"/proc/43/exe"), None);
        assert_eq!(rest(c"/proc/self/../self/comm").as_deref(), Some("comm"));
        assert_eq!(rest(c"/proc/thread-self/../../comm").as_deref(), Some("comm"));
        assert_eq!(rest(c"/proc/thread-self/..").as_deref(), Some("task"));
        assert_eq!(rest(c"/proc/self/cwd/../comm"), None);
        assert_eq!(rest(c"/proc/self/../43/comm"), None);
        assert_eq!(rest(c"/proc/selfish"), None);
        assert_eq!(rest(c"proc/self"), None);
    }

    #[test]
    fn only_fifos_without_their_other_end_wait() {
        assert!(may_wait(libc::O_RDONLY));
        assert!(may_wait(libc::O_WRONLY | libc::O_CREAT));
        assert!(!may_wait(libc::O_RDWR));
        assert!(!may_wait(libc::O_WRONLY | libc::O_NONBLOCK));
        assert!(!may_wait(libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL));
    }
}
