//! Calls on open files: reading, writing, opening and closing.
//!
//! Whether a transfer can block depends on the file. On files and memory devices it can't wait
//! for anybody, and only a large one is worth another leader; sockets have non-blocking forms of
//! their own (`sockets`); for all else O_NONBLOCK decides, since looking first and reading then
//! would block when another process takes the data in between.

use std::sync::atomic::{AtomicBool, Ordering};

use shm_ipc::calls::private;

use super::arguments::{Arguments, vectors};
use super::call::Call;
use super::descriptors::Kind;
use super::host::{self, Arg, Errno, Outcome};
use super::sockets;

/// A transfer within Linux of more than this many bytes takes longer than to change the leader.
pub const LARGE_BYTES: u64 = 256 << 10;

/// What a call transfers and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Into the program's memory.
    Read,
    /// Out of it.
    Write,
}

/// read, write, pread64, pwrite64 and their vector forms. The payload is argument 1.
pub fn transfer(call: &mut Call<'_, '_>, way: Way) -> Outcome {
    let fd = call.fd(0)?;
    let kind = call.kind(0)?;
    let nr = i64::from(call.nr);
    let plain = matches!(nr, libc::SYS_read | libc::SYS_write | libc::SYS_readv | libc::SYS_writev);
    if kind == Kind::Socket && plain && sockets::fits(call, way) {
        return sockets::transfer(call, fd, way);
    }
    if kind == Kind::Pipe
        && plain
        && let Some(done) = at_once(call, way)?
    {
        return Ok(done);
    }
    let may_block = match kind {
        Kind::Regular => call.len(1) > LARGE_BYTES,
        Kind::Directory => false,
        Kind::Socket | Kind::Pipe | Kind::Other => !host::is_nonblocking(fd),
    };
    if call.word(private::MISSING) != 0 && kind == Kind::Other && is_whole(nr) {
        return unreachable_record(call, may_block);
    }
    let (pieces, missing) = (call.block.segments(1).len(), call.word(private::MISSING) != 0);
    if let (Some(vector_nr), true) = (vector_form(nr), missing || pieces > 1 && !is_record(call, kind)) {
        let pieces = vectors(call, 1)?;
        let (count, position) = (Arg::number(pieces.count()), number(call, 3));
        let args = [number(call, 0), Arg::vectors(&pieces), count, position, Arg::null(), Arg::null()];
        let result = call.make(vector_nr, &args, may_block);
        return unless_ready(call, way, result, |call| call.inline(vector_nr, &args));
    }
    let mut arguments = Arguments::new(call)?;
    let args = arguments.args(call)?;
    let result = call.make(nr, &args, may_block);
    let result = unless_ready(call, way, result, |call| call.inline(nr, &args))?;
    arguments.write_back(call)?;
    Ok(result)
}

/// A record is there as a whole or not at all: some memory is as good as none.
fn unreachable_record(call: &mut Call<'_, '_>, may_block: bool) -> Outcome {
    let len = call.len(1).saturating_add(call.word(private::MISSING));
    let args = [number(call, 0), Arg::nowhere(1), Arg::number(len), none(), none(), none()];
    call.make(call.nr.into(), &args, may_block)
}

/// Whether the program has passed one buffer.
fn is_whole(nr: i64) -> bool {
    matches!(nr, libc::SYS_read | libc::SYS_write)
}

/// What may be of a file that gives or takes records (timers, inotify, `/proc`) must not come in parts: such
/// files do not know pieces, and Linux would ask them piece by piece.
fn is_record(call: &Call<'_, '_>, kind: Kind) -> bool {
    kind == Kind::Other && call.len(1) <= AT_ONCE
}

/// What a pipe takes at once when it takes anything (`PIPE_BUF`).
const AT_ONCE: u64 = 4096;

/// Whether pipes can be asked not to wait: from Linux 6.4 on (RWF_NOWAIT, preadv2(2)).
static PIPES_CAN_REFUSE: AtomicBool = AtomicBool::new(true);

/// What a pipe gives or takes without waiting; `None` when it would have to wait, or nobody knows. A call
/// that may wait is made with another thread in the lead, which costs more than the call.
fn at_once(call: &mut Call<'_, '_>, way: Way) -> Result<Option<i64>, Errno> {
    const RWF_NOWAIT: u64 = 8;
    if !(1..=AT_ONCE).contains(&call.len(1)) || !PIPES_CAN_REFUSE.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let pieces = vectors(call, 1)?;
    let here = Arg::number(u64::MAX);
    let (count, flags) = (Arg::number(pieces.count()), Arg::number(RWF_NOWAIT));
    let nr = if way == Way::Read { libc::SYS_preadv2 } else { libc::SYS_pwritev2 };
    match call.inline(nr, &[number(call, 0), Arg::vectors(&pieces), count, here, here, flags]) {
        Ok(done) => Ok(Some(done)),
        Err(Errno(libc::EAGAIN)) => Ok(None),
        Err(Errno(libc::EOPNOTSUPP)) => {
            PIPES_CAN_REFUSE.store(false, Ordering::Relaxed);
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

/// A call that was given up before it began has not even tried. Linux tells of a signal only
/// when there is something to wait for: where there is not, the call is made after all.
fn unless_ready(
    call: &mut Call<'_, '_>,
    way: Way,
    result: Outcome,
    again: impl FnOnce(&mut Call<'_, '_>) -> Outcome,
) -> Outcome {
    let interrupted = result == Err(Errno(libc::EINTR));
    let small = way == Way::Read || call.len(1) <= AT_ONCE;
    if interrupted && small && host::is_ready(call.fd(0)?, way == Way::Write) { again(call) } else { result }
}

/// The call that takes several pieces. preadv's position is the low half of a pair whose high
/// half has no bits on a 64-bit machine.
fn vector_form(nr: i64) -> Option<i64> {
    match nr {
        libc::SYS_read => Some(libc::SYS_readv),
        libc::SYS_write => Some(libc::SYS_writev),
        libc::SYS_pread64 => Some(libc::SYS_preadv),
        libc::SYS_pwrite64 => Some(libc::SYS_pwritev),
        _ => None,
    }
}

/// close(2)
pub fn close(call: &Call<'_, '_>) -> Outcome {
    let fd = call.fd(0)?;
    call.descriptors().forget(fd);
    host::numbers(libc::SYS_close, &[i64::from(fd)])
}

/// close_range(2), around the proxy's own descriptors.
pub fn close_range(call: &Call<'_, '_>) -> Outcome {
    // A table of its own is what the program has by its own lights; the proxy has to stay.
    const UNSHARE: i32 = 2;
    let (first, last, flags) = (call.word(0) as u32, call.word(1) as u32, call.int(2) & !UNSHARE);
    if first > last {
        return Err(Errno(libc::EINVAL));
    }
    let private = call.descriptors().private();
    let (start, end) = (private.start as u32, private.end as u32);
    let below = (first, last.min(start.wrapping_sub(1)), start > 0 && first < start);
    let above = (first.max(end), last, last >= end);
    let parts = if private.is_empty() { [(first, last, true), (0, 0, false)] } else { [below, above] };
    for (first, last, any) in parts {
        if any {
            call.descriptors().forget_range(first, last);
            host::numbers(libc::SYS_close_range, &[i64::from(first), i64::from(last), i64::from(flags)])?;
        }
    }
    Ok(0)
}

/// dup2 and dup3. A target beyond the program's limit is refused as Linux does.
pub fn duplicate_to(call: &Call<'_, '_>) -> Outcome {
    let (old, new) = (call.fd(0)?, call.fd(1)?);
    if u64::from(new as u32) >= call.descriptors().limit().0 {
        return Err(Errno(libc::EBADF));
    }
    call.descriptors().forget(new);
    host::numbers(i64::from(call.nr), &[i64::from(old), i64::from(new), i64::from(call.int(2))])
}

/// fcntl(2): the third argument is a number, or a structure when it came with one.
pub fn fcntl(call: &mut Call<'_, '_>) -> Outcome {
    const F_OFD_GETLK: i32 = 36;
    const F_OFD_SETLK: i32 = 37;
    const F_OFD_SETLKW: i32 = 38;
    let fd = call.fd(0)?;
    let command = call.int(1);
    match command {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => duplicate_from(call, fd, command),
        libc::F_SETLKW => lock(call, command, libc::F_SETLK),
        F_OFD_SETLKW => lock(call, command, F_OFD_SETLK),
        libc::F_GETLK | libc::F_SETLK | F_OFD_GETLK | F_OFD_SETLK => structure(call, 32),
        // F_SETOWN_EX, F_GETOWN_EX, and F_GET_RW_HINT to F_SET_FILE_RW_HINT
        15 | 16 | 1035..=1038 => structure(call, 8),
        // F_GETOWNER_UIDS, the one other command with a pointer
        17 => Err(Errno(libc::EINVAL)),
        _ => host::numbers(libc::SYS_fcntl, &[i64::from(fd), i64::from(command), call.word(2) as i64]),
    }
}

fn structure(call: &Call<'_, '_>, len: u64) -> Outcome {
    let mut bytes = call.copy_in(2, len)?;
    let args = [number(call, 0), number(call, 1), Arg::output(&mut bytes), Arg::null(), Arg::null(), Arg::null()];
    let result = call.inline(libc::SYS_fcntl, &args)?;
    call.copy_out(2, 0, &bytes)?;
    Ok(result)
}

fn number(call: &Call<'_, '_>, index: usize) -> Arg<'static> {
    Arg::number(call.word(index))
}

fn duplicate_from(call: &Call<'_, '_>, fd: i32, command: i32) -> Outcome {
    let least = u64::from(call.word(2) as u32);
    if least >= call.descriptors().limit().0 {
        return Err(Errno(libc::EINVAL));
    }
    let new = host::numbers(libc::SYS_fcntl, &[i64::from(fd), i64::from(command), least as i64])?;
    call.descriptors().admit(new)
}

/// Takes a lock, waiting for it only when it is held.
fn lock(call: &mut Call<'_, '_>, waiting: i32, trying: i32) -> Outcome {
    let bytes = call.structure::<32>(2)?;
    let mut args = [Arg::null(); 6];
    args[0] = number(call, 0);
    args[1] = Arg::number(trying as u64);
    args[2] = Arg::input(&bytes);
    match call.inline(libc::SYS_fcntl, &args) {
        Err(Errno(libc::EAGAIN | libc::EACCES)) => {
            args[1] = Arg::number(waiting as u64);
            call.blocking(libc::SYS_fcntl, &args)
        }
        done => done,
    }
}

/// flock(2), waiting only when it has to.
pub fn flock(call: &mut Call<'_, '_>) -> Outcome {
    let (fd, operation) = (i64::from(call.fd(0)?), call.int(1));
    let tried = host::numbers(libc::SYS_flock, &[fd, i64::from(operation | libc::LOCK_NB)]);
    if tried == Err(Errno(libc::EWOULDBLOCK)) && operation & libc::LOCK_NB == 0 {
        let mut args = [Arg::null(); 6];
        args[0] = Arg::number(fd as u64);
        args[1] = Arg::number(operation as u64);
        return call.blocking(libc::SYS_flock, &args);
    }
    tried
}

/// A call that gives two descriptors through argument `at`: pipe, pipe2, socketpair.
pub fn pair(call: &Call<'_, '_>, at: usize) -> Outcome {
    if call.len(at) != 8 {
        return Err(Errno(libc::EFAULT));
    }
    let mut bytes = [0; 8];
    let mut args: [Arg<'_>; 6] = std::array::from_fn(|i| number(call, i));
    args[at] = Arg::output(&mut bytes);
    call.inline(i64::from(call.nr), &args)?;
    let [first, second] = [0, 4].map(|at| i64::from(host::u32_at(&bytes, at)));
    let (first_is, second_is) = (call.descriptors().admit(first), call.descriptors().admit(second));
    if first_is.is_err() || second_is.is_err() {
        // Whichever was refused is closed already.
        for fd in [first_is, second_is].into_iter().flatten() {
            let _ = host::numbers(libc::SYS_close, &[fd]);
        }
        return Err(Errno(libc::EMFILE));
    }
    call.copy_out(at, 0, &bytes)?;
    Ok(0)
}

/// The kernel's own reading of the program's file, which is one of the proxy's descriptors.
pub fn read_program(call: &mut Call<'_, '_>) -> Outcome {
    let [segment] = call.block.segments(1) else { return Err(Errno(libc::EFAULT)) };
    let len = segment.len.min(call.word(2));
    let buffer = Arg::shared(&call.service.cell.region, segment.offset, len).ok_or(Errno(libc::EFAULT))?;
    let [fd, _, _, offset, ..] = call.block.args.map(Arg::number);
    let (len, none) = (Arg::number(len), Arg::null);
    call.inline(libc::SYS_pread64, &[fd, buffer, len, offset, none(), none()])
}

/// vmsplice(2), as a transfer that copies: argument 2 says whether to the pipe, the pieces are span 1.
/// Linux would let the pipe have the program's pages, and the program's memory is not Linux's to have.
pub fn vmsplice(call: &mut Call<'_, '_>) -> Outcome {
    const NONBLOCK: i32 = 2;
    let fd = call.fd(0)?;
    let file = host::file_type(libc::SYS_fstat, [number(call, 0), none(), none(), none(), none(), none()], 1)?;
    if file.mode & libc::S_IFMT != libc::S_IFIFO {
        return Err(Errno(libc::EBADF));
    }
    let writes = call.word(2) == 1;
    let may_wait = call.int(3) & NONBLOCK == 0;
    if !may_wait && !host::is_ready(fd, writes) {
        return Err(Errno(libc::EAGAIN));
    }
    let pieces = vectors(call, 1)?;
    let args = [number(call, 0), Arg::vectors(&pieces), Arg::number(pieces.count()), none(), none(), none()];
    let nr = if writes { libc::SYS_writev } else { libc::SYS_readv };
    call.make(nr, &args, may_wait && !host::is_nonblocking(fd))
}

fn none() -> Arg<'static> {
    Arg::null()
}
