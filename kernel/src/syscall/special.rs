//! Forwarded calls whose arguments the table's shapes can't say.

use alloc::vec::Vec;

use shm_ipc::calls::Call;

use super::marshal::{build, iovecs, read_iovecs};
use super::{named, signals};
use crate::abi::{Errno, SysResult};
use crate::forward::{Direction, Request};
use crate::mm::{self, Access, user};
use crate::sched::signal;
use crate::{platform, sched};

const IOCTL: u32 = 16;
const SELECT: u32 = 23;
const SHMCTL: u32 = 31;
const SENDMSG: u32 = 46;
const RECVMSG: u32 = 47;
const FCNTL: u32 = 72;
const PSELECT6: u32 = 270;
const PPOLL: u32 = 271;
const EPOLL_PWAIT: u32 = 281;
const PROCESS_VM_READV: u32 = 310;
const PROCESS_VM_WRITEV: u32 = 311;
const EPOLL_PWAIT2: u32 = 441;

/// Whether [`forward`] is to be used.
#[must_use]
pub fn is_special(nr: u32) -> bool {
    matches!(
        nr,
        IOCTL
            | SELECT
            | SHMCTL
            | SENDMSG
            | RECVMSG
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
        IOCTL => ioctl(row, args),
        FCNTL => fcntl(row, args),
        SHMCTL => shmctl(row, args),
        SENDMSG | RECVMSG => message(row, args),
        SELECT | PSELECT6 => select(row, args),
        PPOLL => masked(row, args, 3, args[4]),
        EPOLL_PWAIT | EPOLL_PWAIT2 => masked(row, args, 4, args[5]),
        _ => process_vm(row, args),
    }
}

/// A call with a signal mask for its duration, at argument `at`.
fn masked(row: &'static Call, mut args: [u64; 6], at: usize, size: u64) -> SysResult {
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

/// `struct msghdr`: name, its length, iovecs, their number, control, its length, flags.
const MSGHDR_NAMELEN: u64 = 8;
const MSGHDR_CONTROLLEN: u64 = 40;
const MSGHDR_FLAGS: u64 = 48;

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
        user::write(at + MSGHDR_FLAGS, &((word >> 40) as u32))?;
    }
    reply.result
}

fn process_vm(row: &'static Call, args: [u64; 6]) -> SysResult {
    const MAX_IOVECS: u64 = 1024;
    let [pid, local, local_count, remote, remote_count, flags] = args;
    if local_count > MAX_IOVECS || remote_count > MAX_IOVECS || flags != 0 {
        return Err(Errno::EINVAL);
    }
    let write = row.nr == PROCESS_VM_WRITEV;
    let pieces = read_iovecs(local, local_count)?;
    if is_accessible(&pieces, if write { Access::Read } else { Access::Write }) {
        let remote = read_pairs(remote, remote_count)?;
        if let Some(result) = platform::get().copy_peer(write, pid, &pieces, &remote) {
            return result;
        }
    }
    let mut request = build(row, args)?;
    request.structure(3, remote, 16 * remote_count, Direction::In)?;
    request.run().result
}

/// Whether the program may access all of the pieces; those that are filled on demand are.
fn is_accessible(pieces: &[[u64; 2]], access: Access) -> bool {
    let mut space = mm::space();
    let mut parts = Vec::new();
    pieces.iter().all(|&[at, len]| {
        parts.clear();
        space.pieces(at, len, access, &mut parts) == len
    })
}

/// Addresses and lengths that mean something to another process only.
fn read_pairs(at: u64, count: u64) -> Result<Vec<[u64; 2]>, Errno> {
    (0..count).map(|i| user::read(at.wrapping_add(16 * i))).collect()
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

/// What the third argument of an ioctl is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Argument {
    Number,
    Pointer(u64, Direction),
    /// `struct ifconf`, which points to a further buffer.
    Interfaces,
    Unknown,
}

/// ioctl_list: requests from before the time when their numbers told the size of the argument
/// (`include/uapi/asm-generic/ioctls.h`, `include/uapi/linux/sockios.h`).
fn old_request(request: u32) -> Argument {
    use Argument::{Interfaces, Number, Pointer};
    use Direction::{In, InOut, Out};
    const TERMIOS: u64 = 36;
    const TERMIO: u64 = 18;
    const IFREQ: u64 = 40;
    match request {
        0x5401 => Pointer(TERMIOS, Out),
        0x5402..=0x5404 => Pointer(TERMIOS, In),
        0x5405 => Pointer(TERMIO, Out),
        0x5406..=0x5408 => Pointer(TERMIO, In),
        // TCSBRK, TCXONC, TCFLSH, TIOCEXCL, TIOCNXCL, TIOCSCTTY, TCSBRKP, TIOCNOTTY, FIOCLEX, FIONCLEX
        0x5409..=0x540e | 0x5422 | 0x5425 | 0x5450 | 0x5451 => Number,
        // TIOCGPGRP, TIOCOUTQ, FIONREAD, TIOCGETD, TIOCGSID, FIOQSIZE is 8
        0x540f | 0x5411 | 0x541b | 0x5424 | 0x5429 => Pointer(4, Out),
        0x5460 => Pointer(8, Out),
        // TIOCSPGRP, FIONBIO, TIOCSETD, FIOASYNC, TIOCPKT
        0x5410 | 0x5421 | 0x5423 | 0x5452 | 0x5420 => Pointer(4, In),
        0x5412 => Pointer(1, In),
        0x5413 => Pointer(8, Out),
        0x5414 => Pointer(8, In),
        0x5415 => Pointer(4, Out),
        0x5416..=0x5418 => Pointer(4, In),
        // SIOCATMARK, SIOCGPGRP, SIOCGSTAMP
        0x8903..=0x8905 => Pointer(4, Out),
        0x8901 | 0x8902 => Pointer(4, In),
        0x8906 | 0x8907 => Pointer(16, Out),
        0x8912 => Interfaces,
        0x8910..=0x8970 => Pointer(IFREQ, InOut),
        // Wireless and bonding questions about interfaces.
        0x8990..=0x8995 | 0x8b00..=0x8b1f => Pointer(IFREQ, InOut),
        _ => Argument::Unknown,
    }
}

/// Requests of the modern kind whose argument is a number all the same.
fn takes_number(request: u32) -> bool {
    const FICLONE: u32 = 0x4004_9409;
    const TIOCSIG: u32 = 0x4004_5436;
    const TIOCGPTPEER: u32 = 0x5441;
    const BLKFLSBUF: u32 = 0x1261;
    matches!(request, FICLONE | TIOCSIG | TIOCGPTPEER | BLKFLSBUF)
}

fn argument(request: u32) -> Argument {
    let size = u64::from(request >> 16 & 0x3fff);
    if takes_number(request) {
        return Argument::Number;
    }
    match request >> 30 {
        1 => Argument::Pointer(size, Direction::In),
        2 => Argument::Pointer(size, Direction::Out),
        3 => Argument::Pointer(size, Direction::InOut),
        _ => old_request(request),
    }
}

fn ioctl(row: &'static Call, args: [u64; 6]) -> SysResult {
    let [_, code, at, ..] = args;
    let mut request = Request::new(row.nr, args);
    match argument(code as u32) {
        Argument::Number => {}
        Argument::Pointer(len, direction) => request.structure(2, at, len, direction)?,
        Argument::Interfaces => {
            request.structure(2, at, 16, Direction::InOut)?;
            let [len, buffer]: [u64; 2] = user::read(at)?;
            request.structure(6, buffer, u64::from(len as u32).min(1 << 16), Direction::Out)?;
        }
        Argument::Unknown => {
            named::once(named::What::Ioctl(code));
            return Err(Errno::ENOTTY);
        }
    }
    request.run().result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_requests() {
        assert_eq!(argument(0x5401), Argument::Pointer(36, Direction::Out));
        // TIOCGPTN: _IOR('T', 0x30, unsigned int)
        assert_eq!(argument(0x8004_5430), Argument::Pointer(4, Direction::Out));
        // FS_IOC_GETFLAGS: _IOR('f', 1, long)
        assert_eq!(argument(0x8008_6601), Argument::Pointer(8, Direction::Out));
        assert_eq!(argument(0x8912), Argument::Interfaces);
        assert_eq!(argument(0x1234), Argument::Unknown);
    }
}
