//! Forwarded calls whose arguments the table's shapes can't say.

use shm_ipc::calls::{Call, ioctl, private};

use super::marshal::{build, iovecs, unless_bad_descriptor};
use super::{named, process_vm, procfs, signals};
use crate::abi::{Errno, SysResult};
use crate::forward::{Direction, Request};
use crate::mm::{self, user};
use crate::sched::signal;
use crate::{platform, sched, time};

/// open(2)
pub const OPEN: u32 = 2;
const IOCTL: u32 = 16;
const SELECT: u32 = 23;
const SHMCTL: u32 = 31;
const SENDMSG: u32 = 46;
const RECVMSG: u32 = 47;
const WAIT4: u32 = 61;
const SEMCTL: u32 = 66;
const MSGSND: u32 = 69;
const MSGRCV: u32 = 70;
const MSGCTL: u32 = 71;
const FCNTL: u32 = 72;
const SYSINFO: u32 = 99;
const WAITID: u32 = 247;
const OPENAT: u32 = 257;
const GETCWD: u32 = 79;
const PSELECT6: u32 = 270;
const PPOLL: u32 = 271;
const EPOLL_PWAIT: u32 = 281;
const VMSPLICE: u32 = 278;
const RECVMMSG: u32 = 299;
const SENDMMSG: u32 = 307;
pub const PROCESS_VM_READV: u32 = 310;
pub const PROCESS_VM_WRITEV: u32 = 311;
const OPENAT2: u32 = 437;
const EPOLL_PWAIT2: u32 = 441;

/// Whether [`forward`] is to be used.
#[must_use]
pub fn is_special(nr: u32) -> bool {
    matches!(
        nr,
        OPEN | IOCTL
            | OPENAT
            | OPENAT2
            | SELECT
            | SHMCTL
            | SENDMSG
            | RECVMSG
            | GETCWD
            | SEMCTL
            | MSGSND
            | MSGRCV
            | MSGCTL
            | VMSPLICE
            | RECVMMSG
            | SENDMMSG
            | SYSINFO
            | WAIT4
            | WAITID
            | FCNTL
            | PSELECT6
            | PPOLL
            | EPOLL_PWAIT
            | PROCESS_VM_READV
            | PROCESS_VM_WRITEV
            | EPOLL_PWAIT2
    )
}

/// Forwards one of them.
pub fn forward(row: &'static Call, args: [u64; 6]) -> SysResult {
    match row.nr {
        OPEN | OPENAT | OPENAT2 => procfs::open(row, args),
        IOCTL => ioctl(row, args),
        FCNTL => fcntl(row, args),
        SHMCTL => shmctl(row, args),
        SENDMSG | RECVMSG => message(row, args),
        GETCWD => getcwd(row, args),
        SEMCTL => semctl(row, args),
        MSGSND | MSGRCV => queued_message(row, args),
        MSGCTL => msgctl(row, args),
        VMSPLICE => vmsplice(row, args),
        RECVMMSG => receive_messages(args),
        SENDMMSG => send_messages(args),
        SYSINFO => sysinfo(row, args),
        WAIT4 => wait4(row, args),
        WAITID => waitid(row, args),
        SELECT | PSELECT6 => select(row, args),
        PPOLL => masked(row, args, 3, args[4]),
        EPOLL_PWAIT | EPOLL_PWAIT2 => masked(row, args, 4, args[5]),
        _ => process_vm::forward(row, args),
    }
}

/// A call with a signal mask for its duration, at argument `at`.
fn masked(row: &'static Call, mut args: [u64; 6], at: usize, size: u64) -> SysResult {
    // Times come first, then the mask, then all else.
    let time = match row.nr {
        PPOLL => args[2],
        EPOLL_PWAIT2 => args[3],
        _ => 0,
    };
    if time != 0 {
        time::read_timespec(time)?;
    }
    let mask = core::mem::replace(&mut args[at], 0);
    let mut request = build(row, args)?;
    signals::replace_mask(mask, size)?;
    let result = request.run().result;
    unless_interrupted(result)
}

/// The old mask comes back now, or, after a signal, when its handler's frame is built.
fn unless_interrupted(result: SysResult) -> SysResult {
    if result != Err(Errno::EINTR) {
        signal::finish_mask(sched::current());
    }
    result
}

fn select(row: &'static Call, mut args: [u64; 6]) -> SysResult {
    let count = args[0] as u32;
    if args[4] != 0 {
        user::read::<[u64; 2]>(args[4])?;
    }
    if count.cast_signed() < 0 {
        return Err(Errno::EINVAL);
    }
    // struct { const sigset_t *mask; size_t size; }
    let [mask, size]: [u64; 2] = match (row.nr, args[5]) {
        (PSELECT6, at) if at != 0 => user::read(at)?,
        _ => [0; 2],
    };
    args[5] = 0;
    let mut request = build(row, args)?;
    let bytes = u64::from(count).div_ceil(64) * 8;
    for (arg, at) in args.iter().enumerate().take(4).skip(1) {
        request.structure(arg, *at, bytes, Direction::InOut)?;
    }
    signals::replace_mask(mask, size)?;
    let result = request.run().result;
    unless_interrupted(result)
}

/// `struct rusage`
const RUSAGE: usize = 144;
/// sysinfo(2): memory is the cell's, all of it in units of a byte, without swap.
fn sysinfo(row: &'static Call, args: [u64; 6]) -> SysResult {
    const TOTAL_RAM: u64 = 32;
    const TOTAL_HIGH: u64 = 88;
    const UNIT: u64 = 104;
    let result = build(row, args)?.run().result?;
    let (total, free) = mm::space().usage();
    // total, free, shared, buffers, swap, free swap
    user::write(args[0] + TOTAL_RAM, &[total, free, 0, 0, 0, 0])?;
    user::write(args[0] + TOTAL_HIGH, &[0u64, 0])?;
    user::write(args[0] + UNIT, &1u32)?;
    Ok(result)
}

/// `siginfo_t`
const SIGINFO: usize = 128;

/// Bytes for the program, unless it wants none. Where a call has had its effect by then, that there
/// is no room for them does not undo it.
fn write_if_wanted(at: u64, bytes: &[u8]) -> Result<(), Errno> {
    if at == 0 { Ok(()) } else { user::copy_out(at, bytes) }
}

fn wait4(row: &'static Call, args: [u64; 6]) -> SysResult {
    let [_, status, _, usage, ..] = args;
    loop {
        let mut request = Request::new(row.nr, args);
        request.kernel_buffer(1, alloc::vec![0; 4]);
        request.kernel_buffer(3, alloc::vec![0; RUSAGE]);
        let reply = request.run();
        let pid = reply.result?;
        if pid != 0 {
            let told = request.kernel_bytes(0);
            if has_ended(told) && reply.extra & private::CHILD_KEPT == 0 && signal::children_vanish() {
                continue;
            }
            write_if_wanted(status, told)?;
            write_if_wanted(usage, request.kernel_bytes(1))?;
        }
        return Ok(pid);
    }
}

/// Whether a status as of wait(2) is of a child that has ended, not of one that has stopped or goes on.
fn has_ended(status: &[u8]) -> bool {
    const STOPPED: u8 = 0x7f;
    const CONTINUED: u8 = 0xff;
    !matches!(status.first(), Some(&(STOPPED | CONTINUED)))
}

fn waitid(row: &'static Call, args: [u64; 6]) -> SysResult {
    const WNOWAIT: u64 = 0x0100_0000;
    let [_, _, info, options, usage, _] = args;
    let make = || {
        let mut request = Request::new(row.nr, args);
        request.kernel_buffer(2, alloc::vec![0; SIGINFO]);
        request.kernel_buffer(4, alloc::vec![0; RUSAGE]);
        let reply = request.run();
        (request, reply)
    };
    let (mut request, mut reply) = make();
    while reply.extra == 1
        && options & WNOWAIT == 0
        && tells_of_end(request.kernel_bytes(0))
        && signal::children_vanish()
    {
        (request, reply) = make();
    }
    // The second result: whether there was a child.
    if reply.extra != 0 {
        write_if_wanted(usage, request.kernel_bytes(1))?;
    }
    // Also when there is nothing to tell (`SYSCALL_DEFINE5(waitid)`).
    if info != 0 {
        write_child_info(info, request.kernel_bytes(0))?;
    }
    reply.result.map(|_| 0)
}

/// Linux fills six words of `siginfo_t`, around a hole, and touches nothing else of it.
fn write_child_info(at: u64, info: &[u8]) -> Result<(), Errno> {
    user::copy_out(at, &info[..12])?;
    user::copy_out(at.wrapping_add(16), &info[16..28])
}

/// Whether `siginfo_t` tells of a child that has ended: `CLD_EXITED`, `CLD_KILLED`, `CLD_DUMPED` in `si_code`.
fn tells_of_end(info: &[u8]) -> bool {
    matches!(info.get(8), Some(1..=3))
}

/// `struct msghdr`: name, its length, iovecs, their number, control, its length, flags.
const MSGHDR_NAMELEN: u64 = 8;
const MSGHDR_CONTROLLEN: u64 = 40;
const MSGHDR_FLAGS: u64 = 48;
/// `MSG_CMSG_CLOEXEC`
const CMSG_CLOEXEC: u32 = 0x4000_0000;

fn message(row: &'static Call, args: [u64; 6]) -> SysResult {
    let [fd, at, flags, ..] = args;
    let [name, name_len, vectors, count, control, control_len, _]: [u64; 7] = user::read(at)?;
    let name_len = u64::from(name_len as u32);
    let sends = row.nr == SENDMSG;
    if name_len > i32::MAX as u64 {
        return Err(Errno::EINVAL);
    }
    // Linux cuts names at sizeof(struct sockaddr_storage).
    let name_len = name_len.min(128);
    let direction = if sends { Direction::In } else { Direction::Out };
    let (name_len, control_len) =
        (if name == 0 { 0 } else { name_len }, if control == 0 { 0 } else { control_len.min(1 << 20) });
    let mut request = Request::new(row.nr, [fd, at, flags, name_len, 0, control_len]);
    request.structure(3, name, name_len, direction)?;
    iovecs(&mut request, 4, vectors, count, direction)?;
    request.structure(5, control, control_len, direction)?;
    let reply = request.run();
    if !sends && reply.result.is_ok() {
        let word = reply.extra;
        user::write(at + MSGHDR_NAMELEN, &((word & 0xffff) as u32))?;
        user::write(at + MSGHDR_CONTROLLEN, &(word >> 16 & 0xff_ffff))?;
        // What was asked for comes back with what has come.
        let asked = flags as u32 & CMSG_CLOEXEC;
        user::write(at + MSGHDR_FLAGS, &((word >> 40) as u32 | asked))?;
    }
    reply.result
}

fn shmctl(row: &'static Call, args: [u64; 6]) -> SysResult {
    let [_, command, at, ..] = args;
    const IPC_64: u64 = 0x100;
    let (len, direction) = match command & !IPC_64 {
        // IPC_SET
        1 => (112, Direction::In),
        // IPC_STAT, SHM_STAT, SHM_STAT_ANY
        2 | 13 | 15 => (112, Direction::Out),
        // IPC_INFO
        3 => (72, Direction::Out),
        // SHM_INFO
        14 => (48, Direction::Out),
        _ => (0, Direction::In),
    };
    let mut request = Request::new(row.nr, args);
    request.structure(2, at, len, direction)?;
    request.run().result
}

/// getcwd(2): how much of the buffer has to be there the path tells.
fn getcwd(row: &'static Call, args: [u64; 6]) -> SysResult {
    const PATH_MAX: u64 = 4096;
    let [at, len, ..] = args;
    let room = len.min(PATH_MAX);
    let mut request = Request::new(row.nr, args);
    request.set(1, room);
    request.kernel_buffer(0, alloc::vec![0; room as usize]);
    let len = request.run().result?;
    user::copy_out(at, request.kernel_bytes(0).get(..len as usize).ok_or(Errno::EFAULT)?)?;
    Ok(len)
}

fn semctl(row: &'static Call, args: [u64; 6]) -> SysResult {
    /// `struct semid64_ds`, and where it has the number of semaphores.
    const SET: usize = 104;
    const COUNT: usize = 80;
    const IPC_STAT: u64 = 2;
    let [id, _, command, at, ..] = args;
    let (len, direction) = match command as u32 & !0x100 {
        // GETALL, SETALL: a short for each
        13 | 17 => {
            let mut request = Request::kernel(SEMCTL);
            request.set(0, id);
            request.set(2, IPC_STAT);
            request.kernel_buffer(3, alloc::vec![0; SET]);
            request.run().result?;
            let count = request.kernel_bytes(0)[COUNT..COUNT + 8].iter().rev();
            let count = count.fold(0, |word, byte| word << 8 | u64::from(*byte));
            (2 * count, if command as u32 & !0x100 == 13 { Direction::Out } else { Direction::In })
        }
        // IPC_SET
        1 => (SET as u64, Direction::In),
        // IPC_STAT, SEM_STAT, SEM_STAT_ANY
        2 | 18 | 20 => (SET as u64, Direction::Out),
        // IPC_INFO, SEM_INFO
        3 | 19 => (40, Direction::Out),
        _ => (0, Direction::In),
    };
    let mut request = Request::new(row.nr, args);
    if len != 0 && at == 0 {
        return Err(Errno::EFAULT);
    }
    request.structure(3, at, len, direction)?;
    request.run().result
}

/// The longest text that a message may have (`msgmax`).
fn longest_message() -> u64 {
    const IPC_INFO: u64 = 3;
    /// `struct msginfo`, and where the limit is.
    const INFO: usize = 32;
    const MSGMAX: usize = 8;
    let mut request = Request::kernel(MSGCTL);
    request.set(1, IPC_INFO);
    request.kernel_buffer(2, alloc::vec![0; INFO]);
    if request.run().result.is_err() {
        return u64::MAX;
    }
    request.kernel_bytes(0)[MSGMAX..MSGMAX + 4].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// msgsnd(2), msgrcv(2): a word for the type of the message, then its text.
fn queued_message(row: &'static Call, args: [u64; 6]) -> SysResult {
    const TYPE: u64 = 8;
    let [_, at, len, ..] = args;
    if len > i64::MAX as u64 {
        return Err(Errno::EINVAL);
    }
    if at == 0 {
        return Err(Errno::EFAULT);
    }
    let mut request = Request::new(row.nr, args);
    if row.nr == MSGSND {
        let there = request.structure(1, at, TYPE.saturating_add(len), Direction::In);
        // A text that is too long is refused before it is looked at.
        let has_type = user::read::<u64>(at).is_ok();
        there.map_err(|errno| if has_type && len > longest_message() { Errno::EINVAL } else { errno })?;
        return request.run().result;
    }
    // Of a large buffer Linux touches what the message takes: `MSGMAX` bytes by default.
    const MOST: u64 = 1 << 20;
    let room = len.min(MOST);
    request.set(2, room);
    request.kernel_buffer(1, alloc::vec![0; (TYPE + room) as usize]);
    let received = request.run().result?;
    let whole = (TYPE + received).min(TYPE + room) as usize;
    user::copy_out(at, &request.kernel_bytes(0)[..whole])?;
    Ok(received)
}

fn msgctl(row: &'static Call, args: [u64; 6]) -> SysResult {
    let [_, command, at, ..] = args;
    let (len, direction) = match command as u32 & !0x100 {
        // IPC_SET
        1 => (120, Direction::In),
        // IPC_STAT, MSG_STAT, MSG_STAT_ANY
        2 | 11 | 13 => (120, Direction::Out),
        // IPC_INFO, MSG_INFO
        3 | 12 => (32, Direction::Out),
        _ => (0, Direction::In),
    };
    let mut request = Request::new(row.nr, args);
    if len != 0 && at == 0 {
        return Err(Errno::EFAULT);
    }
    request.structure(2, at, len, direction)?;
    request.run().result
}

/// vmsplice(2): to a pipe the pieces are read, from one they are filled.
fn vmsplice(row: &'static Call, args: [u64; 6]) -> SysResult {
    const ACCESS: u64 = 3;
    const WRITE_ONLY: u64 = 1;
    const KNOWN: u64 = 15;
    const F_GETFL: u64 = 3;
    let [fd, vectors, count, flags, ..] = args;
    if flags & !KNOWN != 0 {
        return Err(Errno::EINVAL);
    }
    let mut question = Request::kernel(FCNTL);
    question.set(0, fd);
    question.set(1, F_GETFL);
    let writes = question.run().result? & ACCESS == WRITE_ONLY;
    let mut request = Request::new(row.nr, args);
    request.set(2, u64::from(writes));
    iovecs(&mut request, 1, vectors, count, if writes { Direction::In } else { Direction::Out })?;
    request.run().result
}

/// `struct mmsghdr`: a `struct msghdr`, and how many bytes it took.
const MMSGHDR: u64 = 64;
const MMSGHDR_LEN: u64 = 56;
/// `UIO_MAXIOV`
const MOST_MESSAGES: u64 = 1024;

fn row_of(nr: u32) -> Result<&'static Call, Errno> {
    shm_ipc::calls::lookup(u64::from(nr)).ok_or(Errno::ENOSYS)
}

/// Whether argument 0 is a socket.
fn check_socket(row: &'static Call, args: [u64; 6]) -> Result<(), Errno> {
    match unless_bad_descriptor(row, args, Errno::EFAULT) {
        Errno::EFAULT => Ok(()),
        bad => Err(bad),
    }
}

fn send_messages(args: [u64; 6]) -> SysResult {
    let [fd, at, count, flags, ..] = args;
    let row = row_of(SENDMSG)?;
    check_socket(row, args)?;
    let count = u64::from(count as u32).min(MOST_MESSAGES);
    for index in 0..count {
        let header = at.wrapping_add(index * MMSGHDR);
        let sent = message(row, [fd, header, flags, 0, 0, 0])
            .and_then(|len| user::write(header.wrapping_add(MMSGHDR_LEN), &(len as u32)));
        if let Err(errno) = sent {
            return if index == 0 { Err(errno) } else { Ok(index) };
        }
    }
    Ok(count)
}

fn receive_messages(args: [u64; 6]) -> SysResult {
    const DONTWAIT: u64 = 0x40;
    const WAITFORONE: u64 = 0x10000;
    let [fd, at, count, mut flags, timeout, _] = args;
    let row = row_of(RECVMSG)?;
    let count = u64::from(count as u32).min(MOST_MESSAGES);
    let until = match timeout {
        0 => None,
        at => Some(platform::get().monotonic().saturating_add(time::read_timespec(at)?)),
    };
    check_socket(row, args)?;
    let mut done = 0;
    let mut failed = None;
    while done < count {
        let header = at.wrapping_add(done * MMSGHDR);
        let received = message(row, [fd, header, flags & !WAITFORONE, 0, 0, 0])
            .and_then(|len| user::write(header.wrapping_add(MMSGHDR_LEN), &(len as u32)));
        if let Err(errno) = received {
            failed = Some(errno);
            break;
        }
        done += 1;
        if flags & WAITFORONE != 0 {
            flags |= DONTWAIT;
        }
        // Looked at between messages only, as on Linux (recvmmsg(2), "Bugs").
        if until.is_some_and(|until| platform::get().monotonic() >= until) {
            break;
        }
    }
    if let (Some(until), Ok(_)) = (until, failed.map_or(Ok(()), Err)) {
        let left = until.saturating_sub(platform::get().monotonic());
        user::write(timeout, &time::timespec(left))?;
    }
    match failed {
        Some(errno) if done == 0 => Err(errno),
        _ => Ok(done),
    }
}

/// shmat(2): the segment is Linux's, its mapping the platform's.
pub fn shmat(args: [u64; 6]) -> SysResult {
    const IPC_STAT: u64 = 2;
    const SIZE_OFFSET: usize = 48;
    let [id, at, flags, ..] = args;
    let mut request = Request::kernel(SHMCTL);
    request.set(0, id);
    request.set(1, IPC_STAT);
    request.kernel_buffer(2, alloc::vec![0; 112]);
    request.run().result?;
    let bytes = request.kernel_bytes(0);
    let size = bytes[SIZE_OFFSET..SIZE_OFFSET + 8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    super::memory::shmat(id as i32, at, flags as u32, size)
}

fn fcntl(row: &'static Call, args: [u64; 6]) -> SysResult {
    let [_, command, at, ..] = args;
    let (len, direction) = match command {
        // F_GETLK, F_OFD_GETLK
        5 | 36 => (32, Direction::InOut),
        // F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW
        6 | 7 | 37 | 38 => (32, Direction::In),
        // F_SETOWN_EX
        15 => (8, Direction::In),
        // F_GETOWN_EX
        16 => (8, Direction::Out),
        // F_GET_RW_HINT, F_GET_FILE_RW_HINT
        1035 | 1037 => (8, Direction::Out),
        // F_SET_RW_HINT, F_SET_FILE_RW_HINT
        1036 | 1038 => (8, Direction::In),
        _ => (0, Direction::In),
    };
    let mut request = Request::new(row.nr, args);
    if len != 0 {
        if at == 0 {
            return Err(Errno::EFAULT);
        }
        request.structure(2, at, len, direction)?;
    }
    request.run().result
}

/// The structure of an ioctl. Where there is none, Linux says first whether the file knows the request.
fn flat(request: &mut Request, at: u64, len: u32, direction: Direction) -> Result<(), Errno> {
    match request.structure(2, at, u64::from(len), direction) {
        Err(Errno::EFAULT) => {
            request.bad_pointer(2);
            Ok(())
        }
        other => other,
    }
}

fn ioctl(row: &'static Call, args: [u64; 6]) -> SysResult {
    use ioctl::Argument;
    let [_, code, at, ..] = args;
    let mut request = Request::new(row.nr, args);
    match ioctl::argument(code as u32) {
        Argument::Number => {}
        Argument::Reads(len) => flat(&mut request, at, len, Direction::In)?,
        Argument::Fills(len) => flat(&mut request, at, len, Direction::Out)?,
        Argument::Exchanges(len) => flat(&mut request, at, len, Direction::InOut)?,
        Argument::Interfaces => {
            request.structure(2, at, u64::from(ioctl::IFCONF), Direction::InOut)?;
            let [len, buffer]: [u64; 2] = user::read(at)?;
            request.structure(6, buffer, u64::from(len as u32).min(1 << 16), Direction::Out)?;
        }
        Argument::Ethtool => {
            request.structure(2, at, u64::from(ioctl::IFREQ), Direction::InOut)?;
            let data: u64 = user::read(at.wrapping_add(ioctl::IFREQ_DATA))?;
            let command: u32 = user::read(data)?;
            let Some(len) = ioctl::ethtool_bytes(command) else {
                named::once(named::What::Ioctl(code));
                return Err(Errno::EOPNOTSUPP);
            };
            // A command's answer may be shorter than the longest: what is there is enough.
            if request.buffer(6, data, u64::from(len), Direction::InOut)? < 4 {
                return Err(Errno::EFAULT);
            }
        }
        Argument::Unknown => {
            named::once(named::What::Ioctl(code));
            return Err(Errno::ENOTTY);
        }
    }
    request.run().result
}
