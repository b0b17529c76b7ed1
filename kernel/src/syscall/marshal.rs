//! Forwarded calls, from the program's arguments to a [`Request`] by the table's shapes.

use alloc::vec::Vec;

use shm_ipc::calls::{Call, Len, Shape};

use super::{limits, procfs, renewed, special};
use crate::abi::{Errno, SysResult};
use crate::forward::{Direction, Request};
use crate::mm::{self, user};
use crate::sched::signal::{self, SigInfo, number};
use crate::sched::thread::current_arc;

/// Linux's MAX_RW_COUNT: no call transfers more at once.
const MAX_TRANSFER: u64 = 0x7fff_f000;

/// `UIO_MAXIOV`
const MAX_IOVECS: u64 = 1024;

const GETGROUPS: u32 = 115;

/// What Linux refuses in numbers before it looks at anything else, and lengths that it takes for an
/// `int`.
fn check_numbers(row: &'static Call, args: &mut [u64; 6]) -> Result<(), Errno> {
    /// Of the 32-bit calls only (`MSG_CMSG_COMPAT`).
    const COMPAT: u64 = 0x8000_0000;
    const RESOURCES: u64 = 16;
    const MOST_ENTRIES: u64 = 1 << 20;
    let low = |word: u64| u64::from(word as u32);
    let is_wrong = match row.nr {
        // sendmsg, recvmsg; recvmmsg, sendmmsg
        46 | 47 => args[2] & COMPAT != 0,
        299 | 307 => args[3] & COMPAT != 0,
        // vmsplice, dup3
        278 => low(args[3]) & !15 != 0,
        292 => args[2] as u32 & !0o2_000_000 != 0 || args[0] as u32 == args[1] as u32,
        // openat2: the size of its structure
        437 if args[3] > 4096 => return Err(Errno::E2BIG),
        437 => args[3] < 24,
        // getrlimit, setrlimit, prlimit64
        97 | 160 => low(args[0]) >= RESOURCES,
        // (prlimit64 looks at the new limit first)
        302 => args[2] == 0 && low(args[1]) >= RESOURCES,
        // getdents, getdents64: what is not filled is not looked at, and more is asked for by another call
        78 | 217 => {
            args[2] = low(args[2]).min(MOST_ENTRIES);
            false
        }
        // readlink, readlinkat
        89 => {
            args[2] = low(args[2]);
            (args[2] as i32) <= 0
        }
        267 => {
            args[3] = low(args[3]);
            (args[3] as i32) <= 0
        }
        _ => false,
    };
    if is_wrong { Err(Errno::EINVAL) } else { Ok(()) }
}

/// Forwards a call of the program.
pub fn forward(row: &'static Call, mut args: [u64; 6]) -> SysResult {
    check_numbers(row, &mut args)?;
    if let Some(result) = procfs::read_link(row, args) {
        return result;
    }
    let result = if special::is_special(row.nr) {
        special::forward(row, args).map_err(|errno| match errno {
            // They see to it themselves.
            errno if matches!(row.nr, 281 | 299 | 307 | 441) => errno,
            Errno::EFAULT | Errno::EINVAL | Errno::ENOTTY => unless_bad_descriptor(row, args, errno),
            other => other,
        })
    } else {
        build(row, args).and_then(|mut request| request.run().result)
    };
    match result {
        Err(Errno::EPIPE) => broken_pipe(row.nr, args),
        Err(Errno::EFBIG) => file_too_large(),
        Ok(value) => {
            limits::changed(row.nr, args);
            renewed::duplicated(row, args, value);
        }
        _ => {}
    }
    result
}

/// Puts a request together by the shapes alone.
///
/// # Errors
/// `EFAULT` and whatever else Linux says of unusable arguments.
pub fn build(row: &'static Call, args: [u64; 6]) -> Result<Request, Errno> {
    let mut request = Request::new(row.nr, args);
    for (index, shape) in row.args.iter().enumerate() {
        let at = args[index];
        let is_list = matches!(*shape, Shape::IovIn(_) | Shape::IovOut(_));
        let passed = match *shape {
            Shape::Int | Shape::Fd | Shape::AtFd | Shape::Special => Ok(()),
            Shape::Path => request.path(index, at),
            Shape::In(len) => buffer(&mut request, row.nr, index, args, len, Direction::In),
            Shape::Out(len) => buffer(&mut request, row.nr, index, args, len, Direction::Out),
            Shape::InOut(len) => buffer(&mut request, row.nr, index, args, len, Direction::InOut),
            Shape::IovIn(count) => iovecs(&mut request, index, at, args[count as usize], Direction::In),
            Shape::IovOut(count) => iovecs(&mut request, index, at, args[count as usize], Direction::Out),
        };
        match passed {
            // Something else may be wrong with the call, which Linux would see first.
            Err(Errno::EFAULT | Errno::EINVAL) if (at != 0 || is_list) && asks_linux(row.nr) => {
                request.bad_pointer(index)
            }
            other => other?,
        }
    }
    Ok(request)
}

/// Whether Linux is to say what is wrong with a call; not where the proxy's limits stand for the
/// program's.
fn asks_linux(nr: u32) -> bool {
    !matches!(nr, 97 | 160 | 302)
}

/// `EBADF` where there is no such descriptor, else `errno`, which was found here.
pub fn unless_closed(fd: i32, errno: Errno) -> Errno {
    const FCNTL: u32 = 72;
    const F_GETFD: u64 = 1;
    let mut request = Request::kernel(FCNTL);
    request.set(0, fd as u64);
    request.set(1, F_GETFD);
    request.run().result.err().unwrap_or(errno)
}

/// What Linux sees before it looks at what a pointer leads to: whether there is such a descriptor, and
/// for calls on sockets, whether it is one. Else `errno`, which was found here.
pub fn unless_bad_descriptor(row: &'static Call, args: [u64; 6], errno: Errno) -> Errno {
    const GETSOCKOPT: u32 = 55;
    const SOL_SOCKET: u64 = 1;
    const SO_TYPE: u64 = 3;
    if row.args.first() != Some(&Shape::Fd) {
        return errno;
    }
    let errno = unless_closed(args[0] as i32, errno);
    if errno != Errno::EBADF && matches!(row.nr, 46 | 47 | 299 | 307) {
        let mut request = Request::kernel(GETSOCKOPT);
        request.set(0, args[0]);
        request.set(1, SOL_SOCKET);
        request.set(2, SO_TYPE);
        request.kernel_buffer(3, alloc::vec![0; 4]);
        request.kernel_buffer(4, alloc::vec![4, 0, 0, 0]);
        if let Err(bad) = request.run().result {
            return bad;
        }
    }
    errno
}

/// write and pwrite64 stop where memory does; other calls that read want all of it.
fn reads_prefix(nr: u32) -> bool {
    matches!(nr, 1 | 18)
}

fn buffer(
    request: &mut Request,
    nr: u32,
    index: usize,
    args: [u64; 6],
    len: Len,
    direction: Direction,
) -> Result<(), Errno> {
    let at = args[index];
    if at == 0 {
        return Ok(());
    }
    match len {
        // select, pselect6, ppoll: what is left of a time is told where that is possible.
        Len::Fixed(len) if matches!(nr, 23 | 270 | 271) && direction == Direction::InOut => {
            if request.structure(index, at, u64::from(len), direction).is_err() {
                let mut bytes = alloc::vec![0; len as usize];
                user::copy_in(&mut bytes, at)?;
                request.forget(index);
                request.kernel_buffer(index, bytes);
            }
            Ok(())
        }
        Len::Fixed(len) => request.structure(index, at, u64::from(len), direction),
        Len::ArgTimes(arg, unit) => {
            let count = u64::from(args[arg as usize] as u32);
            if count > i32::MAX as u64 {
                return Err(Errno::EINVAL);
            }
            if direction == Direction::Out {
                // Linux looks at the range at once, except where it does not fill it at once.
                if nr != GETGROUPS {
                    check_end(at, count * u64::from(unit))?;
                }
                return request.counted_array(index, at, count, u64::from(unit));
            }
            request.structure(index, at, count * u64::from(unit), direction)
        }
        Len::Arg(arg) => {
            let len = args[arg as usize].min(MAX_TRANSFER);
            // Also where nothing is to be transferred. read, write, pread64 and pwrite64 look at all that they
            // are asked for before they cut it.
            check_end(at, if matches!(nr, 0 | 1 | 17 | 18) { args[arg as usize] } else { 0 })?;
            if direction == Direction::In && !reads_prefix(nr) {
                return request.structure(index, at, len, direction);
            }
            let covered = prefix(request, index, at, len, direction)?;
            if takes_pieces(nr) {
                request.asked_for_more(len - covered);
            }
            Ok(())
        }
        Len::AtArg(arg) => {
            let pointer = args[arg as usize];
            if pointer == 0 {
                return Err(Errno::EFAULT);
            }
            let len: u32 = user::read(pointer)?;
            if len.cast_signed() < 0 {
                return Err(Errno::EINVAL);
            }
            prefix(request, index, at, u64::from(len), direction).map(drop)
        }
    }
}

/// Linux refuses addresses beyond its programs' at once, unmapped ones when it gets there.
fn check_end(at: u64, len: u64) -> Result<(), Errno> {
    let is_beyond = at.checked_add(len).is_none_or(|end| end > mm::user_range().end);
    if is_beyond { Err(Errno::EFAULT) } else { Ok(()) }
}

/// Gives how many bytes are there.
fn prefix(request: &mut Request, index: usize, at: u64, len: u64, direction: Direction) -> SysResult {
    let covered = request.buffer(index, at, len, direction)?;
    if covered == 0 && len != 0 { Err(Errno::EFAULT) } else { Ok(covered) }
}

/// read, write, pread64, pwrite64 and recvfrom: what the proxy transfers in pieces.
fn takes_pieces(nr: u32) -> bool {
    matches!(nr, 0 | 1 | 17 | 18 | 45)
}

/// Passes the buffers of an array of iovecs as one argument.
///
/// # Errors
/// `EINVAL` for too many or too long ones, `EFAULT`.
pub fn iovecs(request: &mut Request, index: usize, at: u64, count: u64, direction: Direction) -> Result<(), Errno> {
    let count = u64::from(count as u32);
    if count > MAX_IOVECS {
        return Err(Errno::EINVAL);
    }
    let vectors = read_iovecs(at, count)?;
    let mut left = MAX_TRANSFER;
    let mut any = false;
    for [base, len] in vectors {
        let len = len.min(left);
        if len == 0 {
            continue;
        }
        let covered = match request.buffer(index, base, len, direction) {
            Err(Errno::E2BIG | Errno::ENOMEM) if any => return Ok(()),
            other => other?,
        };
        any |= covered != 0;
        left -= covered;
        if covered < len {
            request.asked_for_more(len - covered);
            return if any { Ok(()) } else { Err(Errno::EFAULT) };
        }
    }
    Ok(())
}

/// Reads an array of iovecs: address and length each.
///
/// # Errors
/// `EINVAL` when one is, or they are together, too long for a number with a sign; `EFAULT`.
pub fn read_iovecs(at: u64, count: u64) -> Result<Vec<[u64; 2]>, Errno> {
    let mut vectors = Vec::with_capacity(count as usize);
    for i in 0..count {
        let vector: [u64; 2] = user::read(at.wrapping_add(16 * i))?;
        // Negative to Linux, which looks at all lengths before it looks at where the pieces are.
        if vector[1] > i64::MAX as u64 {
            return Err(Errno::EINVAL);
        }
        vectors.push(vector);
    }
    let mut total: u64 = 0;
    for [at, len] in &vectors {
        check_end(*at, *len)?;
        total = total.checked_add(*len).filter(|total| *total <= i64::MAX as u64).ok_or(Errno::EINVAL)?;
    }
    Ok(vectors)
}

/// Linux sends SIGPIPE along with EPIPE, except for sends that asked for none.
fn broken_pipe(nr: u32, args: [u64; 6]) {
    const MSG_NOSIGNAL: u64 = 0x4000;
    let quiet = match nr {
        44 => args[3] & MSG_NOSIGNAL != 0,
        46 => args[2] & MSG_NOSIGNAL != 0,
        1 | 18 | 20 | 40 | 275 | 276 | 296 | 326 | 328 => false,
        _ => true,
    };
    if !quiet {
        send_myself(number::PIPE);
    }
}

/// Linux sends SIGXFSZ along with EFBIG where the process's own limit is meant, not where the file system can
/// do no more (`generic_write_check_limits` in mm/filemap.c). The signal went to the proxy, which made the call.
fn file_too_large() {
    const RLIMIT_FSIZE: u32 = 1;
    let is_limited = limits::soft(RLIMIT_FSIZE).is_ok_and(|bytes| bytes != u64::MAX);
    if is_limited {
        send_myself(number::XFSZ);
    }
}

fn send_myself(signal: u8) {
    let pid = crate::boot::facts().info.pid as u32;
    signal::send_thread(&current_arc(), SigInfo::user(signal, pid, 0));
}
