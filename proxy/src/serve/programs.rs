//! The program's file: which it is, and what takes its place (execve(2) in the cell).

use std::ffi::{CString, OsString};
use std::os::fd::IntoRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::call::Call;
use super::host::{self, Arg, Errno, Outcome};
use super::{limits, paths};
use crate::exec;

/// A program's file.
#[derive(Debug, Clone)]
pub struct Executed {
    /// Absolute path.
    pub exe: CString,
    /// One of the proxy's own descriptors.
    pub fd: i32,
}

/// What runs, and what has been found to run next.
#[derive(Debug)]
pub struct Programs(Mutex<(Executed, Option<Executed>)>);

impl Programs {
    /// What the cell was started with.
    pub fn new(first: Executed) -> Self {
        Programs(Mutex::new((first, None)))
    }

    fn lock(&self) -> MutexGuard<'_, (Executed, Option<Executed>)> {
        // Every step under this lock leaves both whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What runs.
    pub fn current(&self) -> Executed {
        self.lock().0.clone()
    }

    /// Whether `fd` is the file of a program: the one that runs or is about to.
    pub fn has(&self, fd: i32) -> bool {
        let programs = self.lock();
        programs.0.fd == fd || programs.1.as_ref().is_some_and(|next| next.fd == fd)
    }
}

/// A path of execveat(2) in the words of one that needs no directory.
pub fn path(call: &Call<'_, '_>) -> Result<CString, Errno> {
    let (directory, flags) = (call.int(0), call.int(2));
    if flags & !(libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW) != 0 {
        return Err(Errno(libc::EINVAL));
    }
    let mut bytes = call.copy_in(1, call.len(1))?;
    bytes.pop();
    if bytes.is_empty() && flags & libc::AT_EMPTY_PATH == 0 {
        return Err(Errno(libc::ENOENT));
    }
    let path = if bytes.starts_with(b"/") || (directory == libc::AT_FDCWD && !bytes.is_empty()) {
        let text = CString::new(bytes).map_err(|_| Errno(libc::EINVAL))?;
        let own = paths::own_proc(&text, call.service.cell.child);
        if own.as_deref() == Some(b"exe") { call.service.programs.current().exe } else { text }
    } else {
        let directory = call.fd(0)?;
        host::numbers(libc::SYS_fcntl, &[directory.into(), libc::F_GETFD.into()])?;
        let separator = if bytes.is_empty() { &b""[..] } else { b"/" };
        let place = format!("/proc/self/fd/{directory}").into_bytes();
        CString::new([&place, separator, &bytes].concat()).map_err(|_| Errno(libc::EINVAL))?
    };
    let is_link = || Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())).is_symlink();
    if flags & libc::AT_SYMLINK_NOFOLLOW != 0 && flags & libc::AT_EMPTY_PATH == 0 && is_link() {
        return Err(Errno(libc::ELOOP));
    }
    Ok(path)
}

/// Finds what the program is to be replaced by.
pub fn find(call: &mut Call<'_, '_>) -> Outcome {
    let name = PathBuf::from(OsString::from_vec(path(call)?.into_bytes()));
    let given = call.copy_in(3, call.len(3))?;
    let given =
        given.split_inclusive(|byte| *byte == 0).map(|text| OsString::from_vec(text[..text.len() - 1].to_vec()));
    let program = exec::follow(name, given.collect()).map_err(|refusal| Errno(refusal.errno()))?;
    let mut packed = Vec::new();
    for argument in &program.arguments {
        packed.extend_from_slice(argument.as_bytes());
        packed.push(0);
    }
    if packed.len() as u64 > call.len(4) {
        return Err(Errno(libc::E2BIG));
    }
    call.copy_out(4, 0, &packed)?;
    let fd = call.descriptors().hide(program.file.into_raw_fd())?;
    let exe = CString::new(program.path.into_os_string().into_vec()).map_err(|_| Errno(libc::EINVAL))?;
    let earlier = call.service.programs.lock().1.replace(Executed { exe, fd });
    earlier.into_iter().for_each(close);
    call.extra = (program.arguments.len() as u64) << 32 | packed.len() as u64;
    Ok(i64::from(fd))
}

fn close(program: Executed) {
    let _ = host::numbers(libc::SYS_close, &[program.fd.into()]);
}

/// What was found runs from here on.
pub fn become_next(call: &mut Call<'_, '_>) -> Outcome {
    {
        let mut programs = call.service.programs.lock();
        if let Some(next) = programs.1.take() {
            close(std::mem::replace(&mut programs.0, next));
        }
    }
    for fd in open_descriptors(call)? {
        let flags = host::numbers(libc::SYS_fcntl, &[fd.into(), libc::F_GETFD.into()]);
        if flags.is_ok_and(|flags| flags & i64::from(libc::FD_CLOEXEC) != 0) {
            call.descriptors().forget(fd);
            let _ = host::numbers(libc::SYS_close, &[fd.into()]);
        }
    }
    Ok(0)
}

/// The program's descriptors.
fn open_descriptors(call: &Call<'_, '_>) -> Result<Vec<i32>, Errno> {
    let entries =
        std::fs::read_dir("/proc/self/fd").map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))?;
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let numbers: Vec<i32> = numbers.filter(|fd| !call.descriptors().is_private(*fd)).collect();
    // The directory's own is among them, and closed by now.
    let is_open = |fd: &i32| host::numbers(libc::SYS_fcntl, &[(*fd).into(), libc::F_GETFD.into()]).is_ok();
    Ok(numbers.into_iter().filter(is_open).collect())
}

/// execveat(2) of a child of the program, which comes back only if it fails.
pub fn execute(call: &mut Call<'_, '_>) -> Outcome {
    let path = path(call)?;
    let (args, env) = (call.copy_in(3, call.len(3))?, call.copy_in(4, call.len(4))?);
    let (args, env) = (host::Strings::unpack(&args), host::Strings::unpack(&env));
    let signals = call.structure::<16>(5)?;
    let (soft, hard) = call.descriptors().limit();
    let limit: Vec<u8> = [soft, hard].iter().flat_map(|word| word.to_ne_bytes()).collect();
    let nofile = Arg::number(libc::RLIMIT_NOFILE as u64);
    call.inline(
        libc::SYS_prlimit64,
        &[Arg::number(0), nofile, Arg::input(&limit), Arg::null(), Arg::null(), Arg::null()],
    )?;
    let before = host::set_signals(host::u64_at(&signals, 0), host::u64_at(&signals, 8));
    let args = [Arg::text(&path), Arg::strings(&args), Arg::strings(&env), Arg::null(), Arg::null(), Arg::null()];
    let limits = call.service.limits.impose();
    let refused = call.inline(libc::SYS_execve, &args);
    limits::restore(&limits);
    host::set_signals(0, before);
    refused
}
